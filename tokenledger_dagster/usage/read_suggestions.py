"""Kept suggestions as values, and the documents that show them.

Here: reading what `exports.suggestions` keeps, choosing from it, and handing it to costs and the UI snapshot. Not here:
working suggestions out; the light way to their texts (`usage.kept_suggestions`).
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import msgspec

from tokenledger_dagster.contracts.costs import CostBreakdown
from tokenledger_dagster.contracts.snapshot import Snapshot
from tokenledger_dagster.contracts.suggestions import SUGGESTIONS_SCHEMA_VERSION, SuggestionsDocument
from tokenledger_dagster.home import Home
from tokenledger_dagster.usage.kept_suggestions import COMPACT, kept_path
from tokenledger_dagster.usage.selection import month_days


def read_kept(path: Path) -> SuggestionsDocument | None:
    """A kept document; None where there is none that can be read."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=SuggestionsDocument)
    except (OSError, msgspec.MsgspecError):
        return None
    return found if found.schema_version == SUGGESTIONS_SCHEMA_VERSION else None


def of_client(document: SuggestionsDocument, clients: tuple[str, ...]) -> SuggestionsDocument:
    """The suggestions that are about some clients; those about plans are about no client."""
    if not clients:
        return document
    mine = [one for one in document.clients if one.client in clients]
    return msgspec.structs.replace(
        document,
        filters={"clients": list(clients)},
        requests=sum(one.requests for one in mine),
        estimated_saving_usd=sum((one.estimated_saving_usd for one in mine), Decimal(0)),
        clients=mine,
        suggestions=[one for one in document.suggestions if one.scope.client in clients],
    )


def with_suggestions(costs: CostBreakdown, home: Home) -> CostBreakdown:
    """A breakdown of a whole month, or of clients in it, with the suggestions kept of it; any other one as it is."""
    filters = dict(costs.filters)
    since, until = filters.pop("since", None), filters.pop("until", None)
    clients = tuple(filters.pop("clients", ()))
    month = (since or "")[:7]
    if filters or not month or (since, until) != month_days(month):
        return costs
    kept = read_kept(Path(kept_path(str(home.root), month)))
    if kept is None or (kept.month, kept.timezone) != (month, costs.timezone):
        return costs
    found = of_client(kept, clients).suggestions
    return msgspec.structs.replace(costs, suggestions=[one.text for one in found], suggestion_details=found)


def snapshot_with_suggestions(snapshot: Snapshot, home: Home, document: SuggestionsDocument | None) -> Snapshot:
    """A snapshot with the texts of its month: the first few where it is compact."""
    if document is None or (document.month, document.timezone) != (snapshot.month, snapshot.timezone):
        return snapshot
    texts = [one.text for one in document.suggestions]
    return msgspec.structs.replace(
        snapshot,
        suggestions=texts[:COMPACT] if snapshot.mode == "compact" else texts,
        suggestions_path=kept_path(str(home.root), document.month),
    )
