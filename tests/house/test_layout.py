"""The top level of the repository is fixed, and what is said twice says the same."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

import tokenledger_dagster

ROOT = Path(__file__).parents[2]
FOLDERS = ("tokenledger_dagster", "assets", "resources", "checks", "ledger", "fixtures", "tests", "docs", "config")
FILES = (
    "pyproject.toml",
    "uv.lock",
    "Makefile",
    "README.md",
    "dagster.yaml",
    "workspace.yaml",
    "dg.toml",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    ".ci/run",
)


def toml(name: str) -> dict[str, object]:
    return tomllib.loads((ROOT / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", FOLDERS)
def test_folder_exists(name: str) -> None:
    assert (ROOT / name).is_dir()


@pytest.mark.parametrize("name", FILES)
def test_file_exists(name: str) -> None:
    assert (ROOT / name).is_file()


def test_ci_script_can_be_run() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_version_is_the_same_in_the_package_and_the_project() -> None:
    assert toml("pyproject.toml")["project"]["version"] == tokenledger_dagster.__version__  # type: ignore[index]


def test_dagster_is_not_configured_in_pyproject() -> None:
    """Either table makes Dagster ignore workspace.yaml without a word."""
    assert not {"dg", "dagster"} & toml("pyproject.toml")["tool"].keys()  # type: ignore[attr-defined]


def test_workspace_and_dg_name_the_same_code_location() -> None:
    module = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"][0]["python_module"]
    project = toml("dg.toml")["project"]

    assert project == {
        "root_module": "tokenledger_dagster",
        "code_location_target_module": module["module_name"],
        "code_location_name": module["location_name"],
    }


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {name for line in re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE) for name in line.split()}

    done = subprocess.run(["make", "-C", str(ROOT)], capture_output=True, text=True, check=True)

    listed = set(re.findall(r"^  make (\S+) +\S", done.stdout, re.MULTILINE))
    assert listed == targets
    assert {"help", "setup", "run", "test", "lint", "type", "dev", "clean"} <= targets


def test_every_module_of_the_library_says_what_belongs_in_it() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "tokenledger_dagster").rglob("*.py"))
        if not path.read_text(encoding="utf-8").lstrip().startswith(('"""', 'r"""'))
    ]

    assert silent == []
