"""The Data Docs: one page that shows what claims and expectations found, readable without a network.

Here: results as HTML, in sentences that Great Expectations put them in.  Not here: any result, and where the page lies
(``governance.quality``).  Its look stands in ``quality_page.html``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from tokenledger_dagster.contracts.quality import (
    ClaimsDocument,
    DatasetResult,
    ExpectationResult,
    ExpectationsDocument,
    SuiteResult,
)

_SHELL = Path(__file__).with_name("quality_page.html")
_LONGEST_CELL = 200


def page(home: Path, claims: ClaimsDocument | None, expectations: ExpectationsDocument | None, now: str) -> str:
    """The whole page.

    Args:
        home: the ledger it is about.
        claims: results of claims, None where none were ever made.
        expectations: results of the suites, None where none were ever run.
        now: when the page is made, RFC 3339.
    """
    suites = expectations.suites if expectations else []
    sections = [*([_claims(claims)] if claims else []), *map(_suite, suites)]
    return Template(_SHELL.read_text("utf-8")).substitute(
        home=escape(str(home)),
        now=escape(now),
        overview=_overview(claims, suites),
        sections="\n".join(sections),
    )


def _overview(claims: ClaimsDocument | None, suites: Iterable[SuiteResult]) -> str:
    rows = []
    if claims is not None:
        failed = sum(not one.passed for one in claims.claims)
        skipped = sum(one.skipped for one in claims.claims)
        state = "failed" if failed else "passed"
        told = f"{len(claims.claims)} claims, {failed} failed, {skipped} not made"
        rows.append([_link("claims"), _badge(state), escape(told), _time(claims.generated_at)])
    for suite in suites:
        rows.append([_link(suite.name), _badge(_state(suite)), escape(suite.message), _time(suite.generated_at)])
    return _table(["", "", "found", "when (UTC)"], rows)


def _claims(document: ClaimsDocument) -> str:
    rows = []
    for one in document.claims:
        state = "skipped" if one.skipped else "passed" if one.passed else "failed"
        rows.append([f"<code>{escape(one.name)}</code>", _badge(state), escape(one.message) + _rows(one.rows)])
    intro = "Published totals against the same totals, summed once more in pandas from the exported events."
    return _section("claims", intro, _table(["claim", "", "found"], rows))


def _suite(suite: SuiteResult) -> str:
    parts = [f"<p>{escape(suite.message)}</p>", *map(_dataset, suite.datasets)]
    return _section(suite.name, suite.description, "\n".join(parts))


def _dataset(dataset: DatasetResult) -> str:
    rows = [
        [
            _badge("passed" if one.passed else "failed" if one.severity == "error" else "warning"),
            f"{escape(one.says)}<p class='why'>{escape(one.means)}</p>",
            _found(one) + _rows(one.rows),
        ]
        for one in dataset.expectations
    ]
    title = f"<h3>{escape(dataset.name)}</h3><p>{escape(dataset.description)} {dataset.row_count:,} rows.</p>"
    return title + _table(["", "expectation", "found"], rows)


def _found(one: ExpectationResult) -> str:
    if one.problem:
        return escape(one.problem)
    if one.unexpected_count is None:
        return escape(_cell(one.observed))
    return f"{one.unexpected_count:,} of {one.element_count or 0:,} rows unexpected"


def _state(suite: SuiteResult) -> str:
    if suite.skipped:
        return "skipped"
    return "failed" if not suite.passed else "warning" if suite.warning_count else "passed"


def _rows(rows: Sequence[Mapping[str, Any]]) -> str:
    """Failing rows, folded in."""
    if not rows:
        return ""
    names = list(dict.fromkeys(name for row in rows for name in row))
    body = [[escape(_cell(row.get(name))) for name in names] for row in rows]
    return f"<details><summary>{len(rows)} rows</summary>{_table([escape(name) for name in names], body)}</details>"


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= _LONGEST_CELL else text[: _LONGEST_CELL - 1] + "…"


def _section(name: str, intro: str, body: str) -> str:
    return f"<section id='{escape(name)}'><h2>{escape(name)}</h2><p>{escape(intro)}</p>{body}</section>"


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are HTML already."""
    head = "".join(f"<th>{header}</th>" for header in headers)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class='wide'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _badge(state: str) -> str:
    return f"<span class='badge {state}'>{state}</span>"


def _link(name: str) -> str:
    return f"<a href='#{escape(name)}'>{escape(name)}</a>"


def _time(stamp: str) -> str:
    return escape(stamp[:19].replace("T", " "))
