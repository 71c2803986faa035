"""The page of the contract says what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tokenledger_dagster.contracts import quality
from tokenledger_dagster.governance import expectations
from tokenledger_dagster.governance.claims import CLAIMS
from tokenledger_dagster.governance.expectation_suites import SUITES

DOCS = Path(__file__).parents[2] / "docs"
SHAPES = [found for found in vars(quality).values() if getattr(found, "__module__", "") == quality.__name__]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_page_names_every_field(shape: type) -> None:
    text = (DOCS / "contracts" / "quality.md").read_text("utf-8")

    assert [name for name in shape.__struct_fields__ if not re.search(rf"`{name}(\[\])?`", text)] == []  # type: ignore[attr-defined]


def test_operations_names_every_check() -> None:
    text = (DOCS / "operations.md").read_text("utf-8")
    usage = {name for name in CLAIMS if name.startswith("recomputed_usage_")}

    told = set(re.findall(r"^\| `((?:recomputed|expected)_\w+)\*?`", text, flags=re.MULTILINE))
    assert told == {*CLAIMS} - usage | {"recomputed_usage_"} | {expectations.check_name(suite) for suite in SUITES}


def test_relations_beside_the_tables_are_explained() -> None:
    text = (DOCS / "contracts" / "quality.md").read_text("utf-8")
    code = Path(expectations.__file__).read_text("utf-8")

    assert set(re.findall(r"^\| `(home_facts|log_files|local_days)`", text, flags=re.MULTILINE)) == set(
        re.findall(r'load\(con, "(\w+)"', code)
    )
