"""The compiled bulk readers (``tokenledger_dagster/clients/bulk``); all else about the package is in pyproject.toml.

Optional: without a C compiler or Python's headers the install goes on, and the Python readers read.
"""

from pathlib import Path
from zlib import crc32

from setuptools import Extension, setup

FOLDER = Path("tokenledger_dagster/clients/bulk")
SOURCES = sorted(FOLDER.glob("*.c"))
HEADERS = sorted(FOLDER.glob("*.h"))

digest = 0
for source in sorted([*SOURCES, *HEADERS]):  # as clients/compiled.py takes it: a build of other sources is not used
    digest = crc32(source.read_bytes(), digest)

setup(
    ext_modules=[
        Extension(
            "tokenledger_dagster.clients._bulk",
            [str(source) for source in SOURCES],
            depends=[str(header) for header in HEADERS],
            define_macros=[("BULK_SOURCES", f"{digest}u")],
            optional=True,
        )
    ]
)
