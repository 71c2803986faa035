"""Expectation suites as data: the files of ``config/expectations``.

Here: reading and checking them.  Not here: running them (``governance.expectations``).

A suite is ``<suite>.yaml``; each of its datasets is a query beside it, ``<suite>.<dataset>.sql``, over the published
tables.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec

from tokenledger_dagster.contracts.quality import ExpectationSeverity
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.models.rules import CONFIG_DIRECTORY

FOLDER = CONFIG_DIRECTORY / "expectations"
SUITES = ("completeness", "distribution", "freshness")
"""Names of the suites, known without reading a file: each is a check of its own."""

_Name = Annotated[str, msgspec.Meta(pattern="^[a-z][a-z_]*$")]


class SuiteError(TokenLedgerError):
    """A suite cannot be used; the message names the file, the place and the remedy."""


class Expectation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One expectation: a type and arguments of Great Expectations, and why."""

    expect: Annotated[str, msgspec.Meta(pattern="^expect_[a-z0-9_]+$")]
    arguments: dict[str, Any]
    severity: ExpectationSeverity
    means: str


class Dataset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One query and what is expected of its rows."""

    name: _Name
    description: str
    key: tuple[str, ...]
    """Columns by which a row is named where it is not as expected."""
    expectations: tuple[Expectation, ...]
    query: str = ""
    """The text of its SQL file."""


class Suite(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file."""

    description: str
    datasets: tuple[Dataset, ...]
    name: str = ""


def load_suite(name: str, folder: Path = FOLDER) -> Suite:
    """The suite of that name with its queries.

    Raises:
        SuiteError: a file is missing, or says something that cannot be meant.
    """
    import yaml

    path = folder / f"{name}.yaml"
    try:
        suite = msgspec.convert(yaml.safe_load(path.read_text("utf-8")), Suite)
    except (OSError, UnicodeDecodeError) as error:
        raise SuiteError(f"{path}: cannot be read ({_first_line(error)}); restore it from the repository") from error
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise SuiteError(f"{path}: {_first_line(error)}; correct it as the other suites are written") from error
    datasets = tuple(
        msgspec.structs.replace(dataset, query=_query(folder / f"{name}.{dataset.name}.sql"))
        for dataset in suite.datasets
    )
    return msgspec.structs.replace(suite, name=name, datasets=datasets)


def _query(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SuiteError(f"{path}: cannot be read ({_first_line(error)}); write the dataset's query there") from error


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
