"""Tables in the documentation say what the code says."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from tests.docs.generated import ROOT, SECTIONS, current, found, pages
from tokenledger_dagster.bench.scenarios import TAIL_SHARE
from tokenledger_dagster.cli.main import COMMANDS
from tokenledger_dagster.clients import values, walk
from tokenledger_dagster.clients.registry import clients
from tokenledger_dagster.contracts import (
    bench,
    cache_bench,
    costs,
    golden,
    inference,
    perf,
    pricing_book,
    pricing_lint,
    reconcile,
    reprice,
    retention,
    search,
)
from tokenledger_dagster.contracts.ledger import OBJECTIVES
from tokenledger_dagster.contracts.report import ModelRow, Report, Row
from tokenledger_dagster.contracts.snapshot import Snapshot, SnapshotRow, SnapshotTotals
from tokenledger_dagster.contracts.summaries import IngestSummary, PipelineSummary, ProviderCounts
from tokenledger_dagster.contracts.tables import TABLES
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.exports.pareto_chart import pareto_picture
from tokenledger_dagster.governance import estimates, golden_checks, price_book
from tokenledger_dagster.governance.doctor import CLAUDE_DEFAULT_DAYS
from tokenledger_dagster.governance.invariants import INVARIANTS
from tokenledger_dagster.home import Home
from tokenledger_dagster.inference.model_folder import GoldenText, Manifest, ModelSpec
from tokenledger_dagster.ingest import compaction, folding, journal, reading, workers
from tokenledger_dagster.ingest.ledger import SUM_FLAG
from tokenledger_dagster.ingest.scan import NO_USAGE
from tokenledger_dagster.ingest.sync import BATCH_RECORDS, FIRST_FILL_WAIT_SECONDS
from tokenledger_dagster.models import artifacts, list_price, pareto, scores
from tokenledger_dagster.models.comparison import load_comparison
from tokenledger_dagster.pricing import audit, lint_rows
from tokenledger_dagster.pricing.book import ALIAS_CONFIDENCE
from tokenledger_dagster.pricing.events import MIN_CONFIDENCE
from tokenledger_dagster.pricing.lists import converted
from tokenledger_dagster.pricing.lists.store import ImportedList
from tokenledger_dagster.pricing.plan_types import CataloguePlan, Fee, Price, ProviderTerms, Subscription
from tokenledger_dagster.pricing.rate_table import RateTable
from tokenledger_dagster.pricing.rates import MAKER_CONFIDENCE_CAP

BENCH_SHAPES = [found for found in vars(bench).values() if isinstance(found, type)]
LEDGER_TABLES = ("runtime_metrics", "unified_model_provider_ledger", "unified_model_provider_pareto")
PRICE_SHAPES = {
    "costs": [costs],
    "golden": [golden],
    "perf-gate": [perf],
    "aggregate-cache": [cache_bench],
    "retention": [retention],
    "inference": [inference],
    "search": [search],
    "pricing": [reprice],
    "pricing-book": [pricing_book],
    "reconcile": [reconcile, pricing_lint],
}
"""Page -> modules of contracts whose every field it names."""
DOCS = ROOT / "docs"
PACKAGE = ROOT / "tokenledger_dagster"
CODE = [*PACKAGE.rglob("*.py"), *(ROOT / "assets").glob("*.py"), *(ROOT / "resources").glob("*.py")]
INGEST = [PACKAGE / "ingest" / f"{name}.py" for name in ("observing", "scan", "sync")]
READERS = [*(PACKAGE / "clients").glob("*.py"), *INGEST]


def _read(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def _lines(page: str, header: str) -> Iterator[str]:
    """Rows of the table that begins with ``header``."""
    lines = _read(page).split(f"\n{header}", 1)[1].splitlines()[2:]
    return itertools.takewhile(lambda line: line.startswith("|"), lines)


def _cells(page: str, header: str) -> list[str]:
    """First cells of the table that begins with ``header``."""
    return [line.split("|")[1].strip() for line in _lines(page, header)]


def _table(page: str, header: str) -> list[str]:
    """The same without back quotes."""
    return [cell.strip("`") for cell in _cells(page, header)]


# ------------------------------------------------------------------ generated sections


@pytest.mark.parametrize("name", SECTIONS)
def test_generated_section_stands_on_one_page(name: str) -> None:
    assert [page.name for page in pages() if name in found(page)] != []


@pytest.mark.parametrize("page", [page for page in pages() if found(page)], ids=lambda page: page.name)
def test_generated_sections_are_current(page: Path) -> None:
    text = page.read_text("utf-8")
    assert text == current(text), "run `.venv/bin/python tests/docs/generated.py`"


# ------------------------------------------------------------------ names in the code


def _strings(node: ast.AST) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


def _is_flags(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "flags"


def _flags(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func
            appends = isinstance(called, ast.Attribute) and called.attr == "append" and _is_flags(called.value)
            if appends or (isinstance(called, ast.Name) and called.id == "flag"):
                for argument in node.args:
                    yield from _strings(argument)
        elif isinstance(node, ast.Assign) and any(map(_is_flags, node.targets)):
            yield from _strings(node.value)
        elif isinstance(node, ast.List) and any(
            isinstance(item, ast.Starred) and _is_flags(item.value) for item in node.elts
        ):
            yield from _strings(node)


def _reasons(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Attribute) and node.value.attr == "skipped":
            yield from _results(node.slice)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "quarantine":
            for argument in node.args[2:]:
                yield from _results(argument)
        elif isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "reason" for t in node.targets):
            yield from _results(node.value)


def _results(node: ast.AST) -> Iterator[str]:
    """Strings an expression can give, without those its conditions compare with."""
    if isinstance(node, ast.IfExp):
        yield from _results(node.body)
        yield from _results(node.orelse)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


def test_flags_are_those_of_the_readers() -> None:
    code = {SUM_FLAG} | {flag for path in READERS for flag in _flags(ast.parse(path.read_text("utf-8")))}
    assert _table("clients/README.md", "| flag |") == sorted(code)


def test_skip_reasons_are_those_of_the_readers() -> None:
    code = {NO_USAGE} | {reason for path in READERS for reason in _reasons(ast.parse(path.read_text("utf-8")))}
    assert _table("clients/README.md", "| reason |") == sorted(code)


def test_rules_are_those_of_the_code() -> None:
    files = [*(PACKAGE / "clients").glob("*.py"), *(PACKAGE / "ingest").glob("*.py")]
    text = "".join(path.read_text("utf-8") for path in files)
    names = "|".join(("claude", "codex", *clients()))
    code = set(re.findall(rf'"((?:{names})\.[a-z_]+|reread_copy|session_snapshot_superseded)"', text))
    assert set(_table("contracts/duplicates.md", "| rule |")) == code | GENERAL_RULES
    for page, prefix in (("claude-code", "claude."), ("codex", "codex.")):
        own = {rule for rule in code if rule.startswith((prefix, "reread"))}
        assert set(_table(f"clients/{page}.md", "| rule |")) == own


GENERAL_RULES = {"superseded_by_source", "<client>.same_request", "<client>.copied_request", "<client>.rewritten"}
"""Rules that several clients share; their names are put together by the code."""


def _severities(page: str, header: str) -> dict[str, set[str]]:
    """Rules of a table, and the severities in its second column."""
    lines = itertools.takewhile(
        lambda line: line.startswith("|"), _read(page).split(f"\n{header}", 1)[1].splitlines()[2:]
    )
    cells = [line.split("|") for line in lines]
    return {rule: set(row[2].strip().split(", ")) for row in cells for rule in re.findall(r"`(\w+)`", row[1])}


def test_rules_of_lint_and_audit_are_those_of_the_code() -> None:
    told = (
        _severities("contracts/reconcile.md", "| lint rule |"),
        _severities("contracts/reconcile.md", "| audit rule |"),
    )
    code: tuple[dict[str, set[str]], ...] = ({rule: {"warning"} for rule, *_ in lint_rows._ORDER}, {})
    for path in (PACKAGE / "pricing").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                called = getattr(node.func, "id", "")
                severities = {"tell": {"error", "warning"}}.get(called, {called})
                if severities <= {"error", "warning"}:
                    code[path.stem == "audit"].setdefault(node.args[0].value, set()).update(severities)
    # an announced rate whose day has come is told by both
    code[1]["scheduled_past_its_date"] = code[0]["scheduled_past_its_date"]
    assert told == code


EXPLAINED = (price_book.__name__, golden_checks.__name__, estimates.__name__)


def test_checks_are_explained() -> None:
    code = {
        name: ("error" if one.severity == "ERROR" else "warning") + (", blocks" if one.blocking else "")
        for name, one in INVARIANTS.items()
        if one.run.__module__ in EXPLAINED or one.table in (*LEDGER_TABLES, "artifacts")
    }
    told = {}
    for line in _lines("operations.md", "| check |"):
        _, names, _, severity, *_ = line.split("|")
        told |= dict.fromkeys(re.findall(r"`(\w+)`", names), severity.partition(";")[0].strip())
    assert told == code


@pytest.mark.parametrize(("header", "names"), [("| flag |", "flags"), ("| reason |", "reasons")])
def test_words_of_plans_are_those_of_the_code(header: str, names: str) -> None:
    tree = ast.parse((PACKAGE / "pricing" / "economics.py").read_text("utf-8"))
    (found,) = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and [getattr(one, "id", "") for one in node.targets] == [names]
    ]
    assert isinstance(found, ast.Dict)
    code = {key.value for key in found.keys if isinstance(key, ast.Constant)}
    listed = {name for cell in _cells("contracts/plans.md", header) for name in re.findall(r"`(\w+)`", cell)}
    assert listed - {"weights_by_tokens", "weights_by_requests"} == code


def test_every_client_has_a_page() -> None:
    assert set(_table("clients/README.md", "| client |")) == set(clients())
    assert {page.stem for page in (DOCS / "clients").glob("*.md")} - {"README"} == set(clients())


# ------------------------------------------------------------------ shapes


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("contracts/event.md", TABLES["events"].column_names),
        ("contracts/pricing.md", TABLES["event_costs"].column_names[7:]),
        ("contracts/pricing.md", TABLES["unpriced"].columns[6].allowed),
        ("contracts/report.md", [*Report.__struct_fields__, *Row.__struct_fields__, *ModelRow.__struct_fields__]),
        ("contracts/ingest-summary.md", IngestSummary.__struct_fields__),
        ("contracts/pipeline-summary.md", PipelineSummary.__struct_fields__),
        ("contracts/ui-snapshot.md", [*Snapshot.__struct_fields__, *SnapshotTotals.__struct_fields__]),
        ("contracts/ui-snapshot.md", SnapshotRow.__struct_fields__),
        *(("contracts/bench.md", struct.__struct_fields__) for struct in BENCH_SHAPES),
        *(
            (f"contracts/{page}.md", struct.__struct_fields__)
            for page, modules in PRICE_SHAPES.items()
            for module in modules
            for struct in vars(module).values()
            if isinstance(struct, type) and struct.__module__ == module.__name__
        ),
        ("contracts/pricing.md", ImportedList.__struct_fields__),
        *(("contracts/inference.md", struct.__struct_fields__) for struct in (Manifest, ModelSpec, GoldenText)),
        *(("contracts/ledger.md", TABLES[name].column_names) for name in LEDGER_TABLES),
        *(
            ("contracts/plans.md", struct.__struct_encode_fields__)
            for struct in (CataloguePlan, Price, Subscription, Fee, ProviderTerms)
        ),
    ],
)
def test_page_names_every_field(page: str, names: list[str]) -> None:
    text = _read(page)
    assert [name for name in names if not re.search(rf"`(?:\w+[.])?{name}(?:\[\]|[.]\w+)?`", text)] == []


def test_ledger_page_names_every_file_of_a_build() -> None:
    text = _read("contracts/ledger.md")
    assert [name for name in artifacts.committed_build().files if f"`{name}`" not in text] == []


def test_ledger_page_tells_the_scale_that_is_in_force() -> None:
    comparison = load_comparison()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in _lines("contracts/ledger.md", "| component |")]
    for name, worst, best, _, *weights in rows:
        objective, _, basis = name.partition(", ")
        bounds = comparison.bounds[basis.strip("`") or objective]
        assert [_number(worst), _number(best)] == [bounds.worst, bounds.best]
        told = {one: _number(cell) for one, cell in zip(OBJECTIVES, weights, strict=True) if cell}
        assert told == {one: comparison.weights[one][objective] for one in told}
    assert len(rows) == len(comparison.bounds)
    text = " ".join(_read("contracts/ledger.md").split())
    mix = ", ".join(f"{share * 100:.0f} % `{name}`" for name, share in comparison.usage_mix.items())
    fewest, prior = comparison.minimum_requests, comparison.prior_requests
    shrunk = f"(n * own + {prior} * benchmark) / (n + {prior})"
    sentences = (f"Committed: {mix}", f"from {fewest} on", f"of {fewest} requests)", f"fewer than {fewest}", shrunk)
    assert [one for one in sentences if one not in text] == []


def _number(cell: str) -> Decimal:
    return Decimal(re.sub(r"[^0-9.]", "", cell))


def test_picture_of_the_frontier_is_current() -> None:
    drawn = pareto_picture(artifacts.committed_build().pareto, OBJECTIVES)
    assert (DOCS / "images" / "pareto.svg").read_text("utf-8") == drawn, "run `make ledger`"


def test_ingest_summary_names_the_counts_of_a_client() -> None:
    text = _read("contracts/ingest-summary.md")
    assert [name for name in ProviderCounts.__struct_fields__ if f"`providers.*.{name}`" not in text] == []


def test_pricing_page_names_the_rate_table_that_is_there() -> None:
    meta = msgspec.json.decode((ROOT / "config" / "rates.meta.json").read_bytes())
    told = f"generated from {meta['source']} {meta['source_version']} as of {meta['as_of']}: {meta['rows']} rows"
    assert told in _read("contracts/pricing.md")
    assert RateTable.load(ROOT / "config" / "rates.csv").snapshot_id == meta["sha256"][:16]


def test_exit_codes_are_those_of_the_errors() -> None:
    documented = set(_table("contracts/cli.md", "| exit code |"))
    codes = {str(kind.exit_code) for kind in (TokenLedgerError, *TokenLedgerError.__subclasses__())}
    assert documented == codes | {"0", "1", "130"}


# ------------------------------------------------------------------ claims


def test_every_command_in_the_documentation_exists() -> None:
    text = "".join(page.read_text("utf-8") for page in pages())
    named = set(re.findall(r"(?:`|^|/|run |pricing )tokenledger ([a-z]+)\b", text, flags=re.MULTILINE))
    assert named
    assert named - set(COMMANDS) == set()
    assert set(COMMANDS) <= set(re.findall(r"^## (\w+)$", _read("contracts/cli.md"), flags=re.MULTILINE))


def test_every_make_target_in_the_documentation_exists() -> None:
    text = "".join(page.read_text("utf-8") for page in pages())
    targets = set(re.findall(r"^([a-z-]+)(?: [a-z-]+)*:", (ROOT / "Makefile").read_text("utf-8"), flags=re.MULTILINE))
    targets |= {"setup-dev", "format"}
    pairs = re.findall(r"`make ([a-z-]+)`|^make ([a-z-]+)", text, flags=re.MULTILINE)
    named = {name for pair in pairs for name in pair if name}
    assert named
    assert named - targets == set()


def test_settings_told_to_be_unread_are() -> None:
    line = re.search(r"^Not yet read by anything: (.*)\.$", _read("operations.md"), flags=re.MULTILINE)
    assert line is not None
    code = "".join(path.read_text("utf-8") for path in CODE)
    named = [name.replace(".", "_") for name in re.findall(r"`([\w.]+)`", line[1])]
    assert named
    read = [name for name in named if re.search(rf"(settings|features)\.{name}\b", code)]
    assert read == [], "read now: take it out of the line in docs/operations.md"


def test_messages_that_operations_explains_are_in_the_code() -> None:
    code = "".join(path.read_text("utf-8") for path in CODE)
    code = re.sub(r'"\s*\n\s*f?"', "", code)
    listed = [part for cell in _cells("operations.md", "| message |") for part in re.findall(r"`([^`]+)`", cell)]
    parts = [part.strip(" ,;") for message in listed for part in message.split("...")]
    assert len(listed) > 10
    assert [part for part in parts if part not in code] == []


def test_agents_variables_are_those_the_readers_ask_for() -> None:
    code = "".join(path.read_text("utf-8") for path in (PACKAGE / "clients").glob("*.py"))
    asked = set(re.findall(r'environ\.get\("([A-Z_]+)"', code))
    assert [name for name in asked if f"`{name}`" not in _read("operations.md")] == []


def test_home_page_names_every_path_of_a_home() -> None:
    home = Home(Path("/home"))
    properties = [name for name, value in vars(Home).items() if isinstance(value, property)]
    text = _read("contracts/home.md")
    assert [path.name for name in properties if (path := getattr(home, name)).name not in text] == []


@pytest.mark.parametrize(
    ("page", "told", "value"),
    [
        ("architecture.md", "batches of {:,} records", BATCH_RECORDS),
        ("architecture.md", "blocks of {} KiB", reading.BLOCK_BYTES >> 10),
        ("architecture.md", "From {} MiB of unread bytes on", workers.HELP_FROM_BYTES >> 20),
        ("contracts/home.md", '{{"schema_version": {}, "host"', journal.JOURNAL_VERSION),
        ("clients/README.md", "first {} and", reading.HEAD_BYTES),
        ("clients/README.md", "last {}", reading.TAIL_BYTES),
        ("clients/README.md", "{} levels deep", walk.MAX_DEPTH),
        ("clients/README.md", "over {:,} per request", values.MAX_TOKENS_PER_REQUEST),
        ("contracts/home.md", "more than {} files", compaction.MERGE_FILES),
        ("contracts/home.md", "under {} MiB is merged", compaction.MERGE_BYTES >> 20),
        ("contracts/home.md", "more than {} journals", folding.FOLD_ABOVE),
        ("contracts/cli.md", "up to {:.0f} minutes", FIRST_FILL_WAIT_SECONDS / 60),
        ("contracts/pricing.md", "Below {}: not priced", MIN_CONFIDENCE),
        ("contracts/pricing.md", "60 to {}: priced", MAKER_CONFIDENCE_CAP),
        ("contracts/pricing.md", "have confidence {}, and so", converted.CONFIDENCE),
        ("contracts/pricing.md", "names a model ({})", ALIAS_CONFIDENCE),
        ("contracts/reconcile.md", "`--max-age-days` ({})", audit.MAX_AGE_DAYS),
        ("contracts/ledger.md", "which model it is ({} or more)", list_price.MIN_CONFIDENCE),
        ("contracts/ledger.md", "share of {:,} samples", pareto.DRAWS),
        ("contracts/ledger.md", "in steps of {:.2f}", 1 / scores.STEP),
        ("operations.md", "nobody looked within {} days", audit.MAX_AGE_DAYS),
        ("performance.md", "{:.0%} more", TAIL_SHARE),
        ("operations.md", "({} where it does not say)", CLAUDE_DEFAULT_DAYS),
    ],
)
def test_number_is_that_of_the_code(page: str, told: str, value: float) -> None:
    assert told.format(value) in " ".join(_read(page).split())
