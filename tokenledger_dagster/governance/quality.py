"""Claims and expectations of a home, run one after the other, and their results on the disk.

Here: running them with progress, and the files below ``quality/``.  Not here: the claims (``governance.claims``), the
suites (``governance.expectations``), the page (``governance.quality_page``), and an orchestrator's own way to run them
(``checks``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from tokenledger_dagster.contracts.quality import (
    ClaimResult,
    ClaimsDocument,
    ExpectationsDocument,
    QualityDocument,
    SuiteResult,
)
from tokenledger_dagster.fileio import write_atomic, write_json_atomic
from tokenledger_dagster.governance.claims import CLAIMS, inspect_claim
from tokenledger_dagster.governance.expectation_suites import SUITES
from tokenledger_dagster.governance.outcome import CheckOutcome, Inspection
from tokenledger_dagster.home import Home

CLAIMS_SUITE = "claims"
"""Name by which all claims are asked for, beside the expectation suites."""
NAMES = (CLAIMS_SUITE, *SUITES)
CLAIMS_FILE = "claims.json"
EXPECTATIONS_FILE = "expectations.json"
PAGE_FILE = "index.html"

Told = Callable[[str, str, float], None]
"""Is told of every check when it is done: its name, what came of it, and the seconds it took."""
_Document = TypeVar("_Document", ClaimsDocument, ExpectationsDocument)


def run_quality(look: Inspection, names: Iterable[str] = NAMES, told: Told | None = None) -> QualityDocument:
    """Runs claims and suites, writes what they found, and returns it.

    Args:
        look: the ledger.
        names: of ``NAMES``.
        told: is told of the progress.

    Raises:
        SuiteError: a suite's files cannot be used.
        ManifestError: the home holds no ledger.
    """
    from tokenledger_dagster.governance.expectations import run_suite

    wanted, claims, suites = set(names), list[ClaimResult](), list[SuiteResult]()
    if CLAIMS_SUITE in wanted:
        started, outcomes = time.perf_counter(), list[CheckOutcome]()
        for name in CLAIMS:
            began = time.perf_counter()
            outcomes.append(inspect_claim(name, look))
            _tell(told, name, _word(outcomes[-1].passed, outcomes[-1].skipped), began)
        claims = record_claims(look.home, outcomes, time.perf_counter() - started).claims
    for name in SUITES:
        if name in wanted:
            began = time.perf_counter()
            suites.append(run_suite(name, look))
            _tell(told, name, _word(suites[-1].passed, suites[-1].skipped, suites[-1].warning_count), began)
            record_suite(look.home, suites[-1])
    return QualityDocument(
        generated_at=_now(),
        passed=all(one.passed for one in claims) and all(one.passed for one in suites),
        claims=claims,
        suites=suites,
        data_docs=str(page_path(look.home)),
    )


def record_claims(home: Home, outcomes: Iterable[CheckOutcome], seconds: float) -> ClaimsDocument:
    """Writes what came of claims as ``quality/claims.json``, and the page anew."""
    claims = [
        ClaimResult(
            name=one.name,
            table=CLAIMS[one.name].table,
            passed=one.passed,
            skipped=one.skipped,
            message=one.description,
            actual=one.actual,
            expected=one.expected,
            delta=one.delta,
            rows=one.rows,
        )
        for one in outcomes
    ]
    document = ClaimsDocument(
        generated_at=_now(),
        duration_ms=round(seconds * 1000),
        passed=all(one.passed for one in claims),
        claims=claims,
    )
    write_json_atomic(home.quality / CLAIMS_FILE, document)
    write_page(home)
    return document


def record_suite(home: Home, result: SuiteResult) -> ExpectationsDocument:
    """Puts a suite's result into ``quality/expectations.json``, the others as they were, and writes the page anew."""
    known = _read(home.quality / EXPECTATIONS_FILE, ExpectationsDocument)
    others = {one.name: one for one in (known.suites if known else []) if one.name in SUITES}
    suites = [found for name in SUITES if (found := result if name == result.name else others.get(name))]
    document = ExpectationsDocument(generated_at=_now(), passed=all(one.passed for one in suites), suites=suites)
    write_json_atomic(home.quality / EXPECTATIONS_FILE, document)
    write_page(home)
    return document


def page_path(home: Home) -> Path:
    """The page that shows all results."""
    return home.quality / PAGE_FILE


def write_page(home: Home) -> Path:
    """Writes the page from the results on the disk, whole or not at all; returns where."""
    from tokenledger_dagster.governance.quality_page import page

    claims = _read(home.quality / CLAIMS_FILE, ClaimsDocument)
    expectations = _read(home.quality / EXPECTATIONS_FILE, ExpectationsDocument)
    write_atomic(page_path(home), page(home.root, claims, expectations, _now()).encode("utf-8"))
    return page_path(home)


def _read(path: Path, kind: type[_Document]) -> _Document | None:
    """Results of an earlier run; None where there are none that this version understands."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError):
        return None


def _tell(told: Told | None, name: str, word: str, began: float) -> None:
    if told is not None:
        told(name, word, time.perf_counter() - began)


def _word(passed: bool, skipped: bool, warnings: int = 0) -> str:
    if skipped:
        return "skipped"
    return "FAILED" if not passed else "warning" if warnings else "ok"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
