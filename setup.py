"""The compiled bulk readers (``tokenledger_dagster/clients/bulk``); all else about the package is in pyproject.toml.

Optional: without a C compiler or Python's headers the install goes on, and the Python readers read.
"""

import sys
from pathlib import Path
from runpy import run_path

from setuptools import Extension, setup

FOLDER = Path("tokenledger_dagster/clients/bulk")
SOURCES = sorted(FOLDER.glob("*.c"))
HEADERS = sorted(FOLDER.glob("*.h"))

# a build of other sources is not used; the package itself cannot be imported while it is built
DIGEST = run_path("tokenledger_dagster/clients/compiled.py")["sources_digest"](FOLDER)

setup(
    ext_modules=[
        Extension(
            "tokenledger_dagster.clients._bulk",
            [str(source) for source in SOURCES],
            depends=[str(header) for header in HEADERS],
            define_macros=[("BULK_SOURCES", f"{DIGEST}u")],
            # 3 % faster than the second level, which most interpreters were built with
            extra_compile_args=[] if sys.platform == "win32" else ["-O3"],
            optional=True,
        )
    ]
)
