"""Codex rollouts read by the compiled reader.

Here: what the C code (``clients/bulk/codex.c``) asks of Python: the reducer's state, contexts, and rows it does not
vouch for.  Not here: what a row means (``clients.codex_pack``, ``clients.codex_reducer``).
"""

from __future__ import annotations

from typing import ClassVar

from tokenledger_dagster.clients import _bulk
from tokenledger_dagster.clients.base import Sink
from tokenledger_dagster.clients.bulk_pack import BulkPacker
from tokenledger_dagster.clients.codex_pack import REPLAYED, CodexPacker
from tokenledger_dagster.clients.codex_reader import CodexReader
from tokenledger_dagster.clients.codex_reducer import REPEATED, ReducerState
from tokenledger_dagster.clients.pack import microseconds
from tokenledger_dagster.contracts.record import Vector

_NEVER = -1


class CodexBulkPacker(BulkPacker, CodexPacker):
    """The packer of rollouts whose rows C takes; the Python packer gets every line that C does not vouch for."""

    repeated: ClassVar = {"rule": REPEATED}
    replayed: ClassVar = REPLAYED

    def __init__(self, sink: Sink, reader: CodexReader) -> None:
        super().__init__(sink, reader)
        self._tiered_from_us = microseconds(self._tiered_from)

    def take(self, data: bytes | bytearray, filled: int, base: int) -> int:
        """Reads the whole lines of a block (``clients.pack.Packer``)."""
        return _bulk.take_codex(self, data, filled, base)

    @property
    def _reducer(self) -> ReducerState:
        return self._reader.state.reducer

    def reducer_state(self) -> tuple[Vector | None, Vector, int]:
        """Baseline and sum so far, and the second in which a spawned thread's file repeats its parent's rows."""
        state = self._reader.state
        second = _NEVER if state.spawn_second is None else state.spawn_second
        return state.reducer.previous, state.reducer.counted, second

    def place_of(self, tiered: int, writes: int) -> int:
        """Number of the context in force."""
        kind = bool(tiered), bool(writes)
        place = self._places.get(kind)
        return self._context(*kind) if place is None else place

    def take_turn(self, model: str, folder: str | None) -> None:
        """A turn's context, as the careful reader takes it."""
        state = self._reader.state
        state.model, state.cwd = model, state.cwd or folder
        self._places.clear()

    def count_heartbeats(self, count: int) -> None:
        """Counts rows that tell rate limits only."""
        self._sink.skipped["usage_null"] += count
