"""Codex: what a root's configuration adds, and which rows are one request.

Here: the adapter.  Not here: where rollouts lie (``clients.codex_logs``), reading rows (``clients.codex_reader``),
which rows of a fork are its parent's (``ingest.lineage``), prices.  Facts and sources: ``docs/clients/codex.md``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from tokenledger_dagster.clients import link_names, values
from tokenledger_dagster.clients.base import OWNER, BookingFacts, Claim, Copy, Sink, SourceFile
from tokenledger_dagster.clients.codex_logs import CodexLogs
from tokenledger_dagster.clients.codex_pack import SAME_ROW, CodexPackFormat
from tokenledger_dagster.clients.codex_reader import CodexReader
from tokenledger_dagster.clients.codex_reducer import fingerprint
from tokenledger_dagster.clients.copies import content_claims
from tokenledger_dagster.clients.logs import Root
from tokenledger_dagster.contracts.record import UsageRecord

ARCHIVED = "codex.archived_copy"
SHORT_HISTORY = "codex.short_history"


class Codex(CodexLogs):
    """The Codex adapter."""

    def files(self, root: Root) -> Iterator[SourceFile]:
        """Every rollout below the root."""
        archived = root.path.name == "archived_sessions"
        for found in self.entries(root):
            yield SourceFile.of(self.name, found, archived=archived)

    def context(self, root: Root) -> Mapping[str, str]:
        """Model and service tier of ``config.toml`` beside the root, with the time since when they are known."""
        path = root.path.parent / "config.toml"
        try:
            text = path.read_text("utf-8", "replace")
            changed = path.stat().st_mtime_ns // 1000
        except OSError:
            return {}
        import tomllib  # few have such a file

        try:
            found = tomllib.loads(text)
        except tomllib.TOMLDecodeError:
            return {}
        read = {"model": values.text(found.get("model")), "service_tier": values.word(found.get("service_tier"))}
        kept = {key: value for key, value in read.items() if value is not None}
        return {**kept, "config_mtime_us": str(changed)}

    def reader(self, file: SourceFile, carry: bytes | None, sink: Sink, context: Mapping[str, str]) -> CodexReader:
        """A reader for one file."""
        return CodexReader(file, carry, sink, context)

    def pack_format(self) -> CodexPackFormat:
        """Rollouts are read in bulk."""
        return CodexPackFormat()

    def group(self, record: UsageRecord) -> bytes:
        """Cumulative total, else time and vector, else content: equal in every copy of a request."""
        if record.by_content:
            return b"\x00" + record.record_sha256.encode()
        if record.cumulative is not None:
            return b"t" + fingerprint(record.cumulative)
        return b"l" + str(record.timestamp_us).encode() + fingerprint(record.last)

    def claims(self, copies: Sequence[Copy], facts: BookingFacts) -> list[Claim]:
        """(owner session, cumulative total) is a request; so is one row found alike in two unrelated files."""
        claims = content_claims(self.name, [copy for copy in copies if copy.by_content])
        owned: dict[str, list[tuple[Copy, str | None]]] = defaultdict(list)
        for copy in copies:
            if not copy.by_content:
                owner, rule = facts.row_owner(copy)
                if rule is None and facts.is_superseded(copy.stream):
                    rule = ARCHIVED
                owned[owner].append((copy, rule))
        for owners in _same_rows(owned):
            rows = [item for owner in owners for item in owned[owner]]
            barred = [(copy, copy.file_rule or rule or "") for copy, rule in rows if _cannot_win(copy, rule)]
            able = [(copy, rule) for copy, rule in rows if not _cannot_win(copy, rule)]
            sample = rows[0][0]
            about = sample.cumulative if sample.cumulative is not None else (sample.timestamp_us, *(sample.last or ()))
            rules = {copy.rid: rule for copy, rule in able if rule is not None}
            # what a total bills depends on the rows before it: a copy that stands early in its file bills too much
            least = min((copy.total for copy, _ in able), default=0)
            barred += [(copy, rule or SHORT_HISTORY) for copy, rule in able if copy.total > least]
            able_copies = [copy for copy, _ in able if copy.total == least]
            flags = () if any(facts.has_file(name) for name in owners) else ("owner_missing",)
            claims.append(Claim((self.name, OWNER, *about), able_copies, barred, owners, flags, rules))
        return claims

    def duplicate_rule(self, loser: Copy, winner: Copy, subagent: Callable[[int], bool]) -> str:
        """Names why two rows of one request are the same; positions copied from a parent are named by lineage."""
        return SAME_ROW if loser.stream != winner.stream else "codex.repeated_total"

    def links(self, copy: Copy, session: str) -> Iterable[str]:
        """A telemetry event names the request by session and counters; a row that bills nothing is none."""
        if copy.file_rule is None:
            yield link_names.codex_counters(session, copy.counters)


def _cannot_win(copy: Copy, rule: str | None) -> bool:
    return copy.file_rule is not None or rule == ARCHIVED


def _same_rows(owned: dict[str, list[tuple[Copy, str | None]]]) -> list[list[str]]:
    """Owners whose rows are one and the same: alike in time, total and last although nothing links the files."""
    if len(owned) == 1:
        return [list(owned)]
    groups: list[tuple[set[tuple[object, ...]], list[str]]] = []
    for owner, rows in owned.items():
        # only rows that bill, and that are not known to be copied from a parent, can say that two files are one
        keys: set[tuple[object, ...]] = {
            (copy.timestamp_us, copy.cumulative, copy.last)
            for copy, rule in rows
            if rule is None and copy.file_rule is None
        }
        names = [owner]
        apart = []
        for other_keys, other_names in groups:
            if keys & other_keys:
                keys |= other_keys
                names += other_names
            else:
                apart.append((other_keys, other_names))
        groups = [*apart, (keys, names)]
    return [names for _, names in groups]
