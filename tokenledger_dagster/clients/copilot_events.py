"""Event logs of GitHub Copilot CLI: one file a session, counters only where it was shut down.

Here: from rows to records.  Not here: what a shutdown's counters cover (``clients.copilot_legs``), or the session store
that counts every request by itself (``clients.copilot_cli``).
"""

from __future__ import annotations

from typing import Any

import msgspec

from tokenledger_dagster.clients import link_names, values
from tokenledger_dagster.clients.base import Sink, SourceFile
from tokenledger_dagster.clients.copilot_legs import COMPACTION, RESUME, Legs, version_of
from tokenledger_dagster.clients.copilot_usage import (
    NOTHING,
    counters_of,
    model_of,
    of_compaction,
    of_details,
    of_usage,
)
from tokenledger_dagster.clients.evidence import Evidence
from tokenledger_dagster.clients.row_values import dated, kept_usage, why_none
from tokenledger_dagster.clients.rows import Row, RowReader, member, object_of
from tokenledger_dagster.contracts.record import UsageRecord, Vector

SHUTDOWN_RANK = 5
"""Sums of a leg give way to the store's requests of the session."""
MESSAGE_RANK = 20
"""A message tells its output alone: it gives way to the store, to telemetry, and to the shutdown that covers it."""


class _State(msgspec.Struct):
    session: str | None = None
    model: str | None = None
    cwd: str | None = None
    branch: str | None = None
    version: str | None = None
    message: str | None = None
    """The message read last, which a streaming build may write in several rows."""
    message_output: int = 0
    legs: Legs = msgspec.field(default_factory=Legs)


class EventsReader(RowReader):
    """Reads ``events.jsonl``, in order."""

    skippable = (
        b'{"type":"user.message"',
        b'{"type":"tool.execution_',
        b'{"type":"hook.',
        b'{"type":"system.',
        b'{"type":"assistant.turn_',
        b'{"type":"assistant.reasoning"',
    )
    telling = (b'"assistant.message"', b'"session.')

    def __init__(self, file: SourceFile, carry: bytes | None, sink: Sink) -> None:
        super().__init__(file, sink)
        self._state = msgspec.msgpack.decode(carry, type=_State) if carry else _State()

    def carry(self) -> bytes:
        """The session's context and its stretches."""
        return msgspec.msgpack.encode(self._state)

    def take(self, row: Row, evidence: Evidence, flags: list[str]) -> None:
        """Learns from a row, and adds the usage it tells."""
        kind, data = row.get("type"), object_of(row.get("data"))
        match kind:
            case "session.start" | "session.resume":
                self._begin(data, is_resume=kind == "session.resume")
            case "session.model_change":
                self._choose(data.get("newModel"))
            case "session.auto_mode_resolved":
                self._choose(data.get("chosenModel"))
            case "assistant.message":
                self._message(row, data, evidence, flags)
            case "session.compaction_complete":
                self._compaction(row, data, evidence, flags)
            case "session.shutdown":
                self._shutdown(row, data, evidence, flags)

    def _begin(self, data: Row, *, is_resume: bool) -> None:
        state = self._state
        state.session = state.session or values.text(data.get("sessionId"), 256)
        state.cwd = values.text(member(data, "context", "cwd")) or state.cwd
        state.branch = values.text(member(data, "context", "branch"), 256) or state.branch
        state.version = values.text(data.get("copilotVersion"), 64) or state.version
        self._choose(data.get("selectedModel"))
        self._choose(member(data, "context", "model"))
        if is_resume:
            state.legs.begin(RESUME)

    def _choose(self, model: object) -> None:
        self._state.model = model_of(model, self._state.model)

    def _message(self, row: Row, data: Row, evidence: Evidence, flags: list[str]) -> None:
        """What a message put out; how much it read stands nowhere in the log."""
        if data.get("outputTokens") is None:
            self.sink.skipped["usage_null"] += 1
            return
        output = values.count(data.get("outputTokens"), flags.append)
        if not output:
            self.sink.skipped["zero_usage"] += 1
            return
        state, message = self._state, values.text(data.get("messageId"), 256)
        known = state.message_output if message is not None and message == state.message else 0
        state.message, state.message_output = message, max(output, known)
        state.legs.add_output(max(0, output - known))
        flags.append("input_unknown")
        self._add(
            row, evidence, flags, model_of(data.get("model"), state.model), (0, 0, 0, output, 0),
            message=message, rank=MESSAGE_RANK, usage={"outputTokens": output},
        )  # fmt: skip

    def _compaction(self, row: Row, data: Row, evidence: Evidence, flags: list[str]) -> None:
        """The request that wrote the summary, where no shutdown counts it."""
        used = data.get("compactionTokensUsed")
        vector = of_compaction(used, flags)
        if vector is None or vector == NOTHING:
            self.sink.skipped[why_none(used) if vector is None else "zero_usage"] += 1
        else:
            flags.append("compaction")
            message = values.text(data.get("requestId"), 256)
            model = model_of(member(used, "model"), self._state.model)
            self._add(
                row, evidence, flags, model, vector, message=message and f"compaction/{message}",
                rank=MESSAGE_RANK, usage=used,
            )  # fmt: skip
        self._state.legs.begin(COMPACTION)

    def _shutdown(self, row: Row, data: Row, evidence: Evidence, flags: list[str]) -> None:
        """The counters of a leg, by model."""
        metrics = object_of(data.get("modelMetrics"))
        told: dict[str, Any] = {}
        reported: dict[str, Vector] = {}
        for name, one in metrics.items():
            vector = of_usage(member(one, "usage"), flags)
            model = values.text(name, 256)
            if vector is not None and model is not None:
                reported[model], told[model] = vector, one["usage"]
        if not reported and (vector := of_details(data.get("tokenDetails"), flags)) is not None:
            names = [*metrics] if len(metrics) == 1 else [data.get("currentModel")]
            model = values.text(names[0], 256) or self._state.model or ""
            if len(metrics) > 1:
                flags.append("several_models")
            reported[model], told[model] = vector, data["tokenDetails"]
        if not reported:  # the leg goes on: a later shutdown may cover it
            usages = (member(one, "usage") for one in metrics.values())
            self.sink.skipped[why_none(data.get("modelMetrics"), data.get("tokenDetails"), *usages)] += 1
            return
        if not any(any(vector) for vector in reported.values()):
            self.sink.skipped["zero_usage"] += 1
            return
        grown, covered = self._state.legs.close(reported, version_of(self._state.version))
        flags.append("date_estimated")
        legs = tuple(self._leg_link(number) for number in covered)
        name = values.text(row.get("id"), 256) or f"{self._session}@{row.get('timestamp')}"
        # of several models a route may be any
        chosen = self._state.model if len(grown) == 1 else None
        for model, vector in grown.items():
            if vector == NOTHING:
                self.sink.skipped["repeated_usage"] += 1
                continue
            self._add(
                row, evidence, [*flags], model_of(model, chosen), vector, message=f"{name}/{model}",
                rank=SHUTDOWN_RANK, usage=told[model], legs=legs,
            )  # fmt: skip

    def _add(
        self,
        row: Row,
        evidence: Evidence,
        flags: list[str],
        model: str | None,
        vector: Vector,
        *,
        message: str | None,
        rank: int,
        usage: Any,
        legs: tuple[str, ...] = (),
    ) -> None:
        state, session = self._state, self._session
        if model is None:
            flags.append("model_missing")
        if state.session is None:
            flags.append("session_from_file")
        links: tuple[str, ...] = (link_names.copilot_session(session), *legs)
        if rank == MESSAGE_RANK:
            witnesses = link_names.copilot_exact(session), link_names.copilot_telemetry(session)
            links = (*witnesses, self._leg_link(state.legs.number))
        self.sink.records.append(
            UsageRecord(
                **evidence.placed(self.sink),
                timestamp_us=dated(self.file, self.sink, flags, row.get("timestamp")),
                session_id=session,
                model_raw=model,
                counters=counters_of(vector),
                message_id=message,
                by_content=message is None,
                cwd=state.cwd,
                git_branch=state.branch,
                client_version=state.version,
                flags=tuple(dict.fromkeys(flags)),
                raw_usage=kept_usage(usage),
                source_rank=rank,
                links=links,
                is_sum=rank == SHUTDOWN_RANK,
            )
        )

    @property
    def _session(self) -> str:
        """The session's id, else the name of the folder (or of the early builds' file) that is called after it."""
        if self._state.session is not None:
            return self._state.session
        parts = self.file.relative.split("/")
        return parts[-2] if self.file.stem == "events" and len(parts) > 1 else self.file.stem

    def _leg_link(self, number: int) -> str:
        return f"copilot-leg:{self._session}#{number}"
