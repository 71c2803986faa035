"""From invariants and contracts to Dagster's check specs and results.

Here: the translation. Not here: which checks there are, and any property.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.common import ASSET_OF_TABLE, key
from assets.events import CLIENT_EVENTS
from resources import Engine, LedgerHome, RunOptions
from tokenledger_dagster.governance.invariants import INVARIANTS, Inspection, inspect

if TYPE_CHECKING:
    from tokenledger_dagster.governance.invariants import CheckOutcome

SHOWN_ROWS = 20
STRICT = ("unpriced_share", "everything_priced")
"""Checks that tell by themselves, and fail a run that refuses usage without a price."""
ASSETS_OF = {
    **{table: [asset] for table, asset in ASSET_OF_TABLE.items()},
    # the lake has no asset of its own: whoever writes it is answerable for it
    "lake": CLIENT_EVENTS,
    "runs": ["exports/warehouse"],
    "warehouse": ["exports/warehouse"],
    # the last thing a run makes: by then all else is there
    "artifacts": ["exports/pipeline_summary"],
    "ui_snapshot": ["exports/ui_snapshot"],
    "book": ["pricing/book"],
    "reprice": ["pricing/reprice"],
    "coverage": ["reconcile/coverage"],
    "reconcile": ["reconcile/summary"],
    **{
        name: [f"inference/{name}"]
        for name in (
            *("embedding_model", "session_vectors", "session_activity"),
            *("token_estimates", "mapping_suggestions"),
        )
    },
    # the sample is no asset of a ledger: it stands beside the last word on a run
    "sample": ["exports/pipeline_summary"],
}
"""What an invariant speaks of -> keys of the assets that it is checked on."""


def specs_of(tables: Iterable[str]) -> list[dg.AssetCheckSpec]:
    """The check specs of all invariants of these tables."""
    wanted = set(tables)
    return [
        dg.AssetCheckSpec(
            invariant.name, asset=key(asset), blocking=invariant.blocking, description=invariant.description
        )
        for invariant in INVARIANTS.values()
        if invariant.table in wanted
        for asset in ASSETS_OF[invariant.table]
    ]


def invariant_check(name: str, tables: Sequence[str]) -> dg.AssetChecksDefinition:
    """One step that inspects everything that must hold of these tables."""

    @dg.multi_asset_check(name=name, specs=specs_of(tables), can_subset=True)
    def check(
        context: dg.AssetCheckExecutionContext, home: LedgerHome, engine: Engine, options: RunOptions
    ) -> Iterator[dg.AssetCheckResult]:
        strict = (options.on_unpriced or home.settings.on_unpriced) == "error"
        found: dict[str, CheckOutcome] = {}
        with engine.connect() as connection:
            look = Inspection(home.open(), connection, home.zone)
            for check_key in sorted(context.selected_asset_check_keys):
                if check_key.name not in found:
                    found[check_key.name] = inspect(check_key.name, look)
                yield result_of(found[check_key.name], check_key, strict=strict)

    return check


def result_of(
    outcome: "CheckOutcome", check_key: dg.AssetCheckKey, *, strict: bool = False, docs: Path | None = None
) -> dg.AssetCheckResult:
    """What the UI shows of an outcome; `strict` makes any usage without a price an error, `docs` is a page about it."""
    refused = strict and check_key.name in STRICT and bool(outcome.actual)
    warns = outcome.severity == "WARN" and not refused
    metadata: dict[str, Any] = {
        name: value for name in ("actual", "expected", "delta") if (value := getattr(outcome, name)) is not None
    }
    if outcome.skipped:
        metadata["skipped"] = True
    if docs is not None:
        metadata["data_docs"] = dg.MetadataValue.path(str(docs))
    if outcome.rows:
        metadata["failing_rows"] = dg.MetadataValue.table(records=_records(outcome.rows[:SHOWN_ROWS]))
    return dg.AssetCheckResult(
        asset_key=check_key.asset_key,
        check_name=check_key.name,
        passed=outcome.passed and not refused,
        severity=dg.AssetCheckSeverity.WARN if warns else dg.AssetCheckSeverity.ERROR,
        description=outcome.description,
        metadata=metadata,
    )


def _records(rows: Sequence[dict[str, Any]]) -> list[dg.TableRecord]:
    """Rows as texts; Dagster wants the same columns in each, and one check may tell of several tables."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [dg.TableRecord({name: _text(row.get(name)) for name in names}) for row in rows]


def _text(value: Any) -> str:
    return "" if value is None else str(value)
