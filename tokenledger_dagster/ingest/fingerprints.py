"""Digests that serve as the graph's data versions where no table has one: of logs, of what was read, of a document.

Here: plain functions over files' stats, the manifest and artifacts. Not here: reading a log (`ingest`), anything of
Dagster.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tokenledger_dagster.clients.logs import Root, agents_environ
from tokenledger_dagster.clients.registry import clients, finder
from tokenledger_dagster.fileio import encode_json
from tokenledger_dagster.home import Home
from tokenledger_dagster.ingest.manifest import connect, get_meta

__all__ = [
    "ClientTotals",
    "LogFiles",
    "client_totals",
    "document_digest",
    "log_digests",
    "log_files",
    "log_paths",
    "texts_digest",
]


class LogFiles(NamedTuple):
    """The log files of one client as `stat` saw them."""

    digest: str
    files: int
    bytes: int


class ClientTotals(NamedTuple):
    """What the ledger holds of one client."""

    digest: str
    """Changes when a record is added or rewritten, or booked otherwise; not when a file is moved or touched."""
    records: int
    events: int
    total_tokens: int
    list_price_usd: Decimal


def log_files(home: Home, environ: Mapping[str, str], client: str) -> LogFiles:
    """Fingerprint of the files of `client`: path, size and time of each, nothing is opened."""
    found = _stats(home, environ, client)
    stats = [(path, *stat) for path, stat in sorted(found.items())]
    return LogFiles(_digest(stats), len(stats), sum(size for _, size, _ in stats))


def log_paths(home: Home, environ: Mapping[str, str], client: str) -> list[str]:
    """Paths of the files of `client`, in order."""
    return sorted(_stats(home, environ, client))


def log_digests(home: Home, environ: Mapping[str, str]) -> dict[str, str]:
    """Fingerprint of the log files of every client, by client."""
    return {client: log_files(home, environ, client).digest for client in clients()}


def client_totals(home: Home, client: str) -> ClientTotals:
    """Figures of one client in the manifest, which a sync has made."""
    manifest = connect(home, read_only=True)
    try:
        chains = manifest.execute(
            "SELECT source_id, stream_no, chain FROM sources WHERE client = ? ORDER BY source_id",
            (client,),
        ).fetchall()
        (records,) = manifest.execute(
            "SELECT coalesce(sum(last_rid - first_rid + 1), 0) FROM stream_runs JOIN streams USING (stream_no) "
            "WHERE client = ?",
            (client,),
        ).fetchone()
        events, tokens, nano = manifest.execute(
            "SELECT coalesce(sum(event_count), 0), coalesce(sum(input_tokens + output_tokens + cache_write_tokens + "
            "cache_read_tokens + tool_input_tokens + tool_output_tokens), 0), coalesce(sum(list_price_nano), 0) "
            "FROM cells JOIN models USING (model_no) WHERE client = ?",
            (client,),
        ).fetchone()
        key = get_meta(manifest, "booking_key")
    finally:
        manifest.close()
    digest = _digest([key, *chains, events, tokens, nano])
    return ClientTotals(digest, records, events, tokens, Decimal(nano).scaleb(-9))


def document_digest(document: Any, *places: str) -> str:
    """Digest of a published document, whenever and wherever it was made: fields that name a place are left out."""
    timeless = msgspec.structs.replace(document, generated_at="", **dict.fromkeys(places, ""))
    return hashlib.blake2b(encode_json(timeless, indent=0), digest_size=16).hexdigest()


def texts_digest(texts: Iterable[str]) -> str:
    """Digest of some texts in their order."""
    return hashlib.blake2b(encode_json(list(texts), indent=0), digest_size=16).hexdigest()


def _stats(home: Home, environ: Mapping[str, str], client: str) -> dict[str, tuple[int, int]]:
    """Size and time of change of the files of `client`, by path."""
    finding = finder(client)
    roots = [*finding.roots(agents_environ(environ)), *_added_roots(home, client)]
    return {path: (stat.st_size, stat.st_mtime_ns) for root in roots for path, _, stat in finding.entries(root)}


def _added_roots(home: Home, client: str) -> list[Root]:
    """Roots that were added with `sync --source`; a home that was never filled has none."""
    if not home.manifest_path.exists():
        return []
    manifest = connect(home, read_only=True)
    try:
        rows = manifest.execute("SELECT path FROM extra_sources WHERE client = ? ORDER BY path", (client,)).fetchall()
    finally:
        manifest.close()
    return [Root(Path(path), "--source") for (path,) in rows if Path(path).exists()]


def _digest(values: Iterable[object]) -> str:
    return hashlib.blake2b(repr(list(values)).encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
