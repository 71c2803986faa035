"""Which part of a Copilot session a shutdown's counters cover.

Here: the stretches of a session between its starts, resumptions, compactions and shutdowns, and the choice among them.
Not here: rows of the log (``clients.copilot_events``).

Early builds count each leg of a session on its own, later ones carry the counters over a resumption, and a compaction
may reset them.  What the counters cover shows in the output of the messages since: the stretch whose messages come
nearest to it is taken.  Where messages tell no output, the build decides.
"""

from __future__ import annotations

import msgspec

from tokenledger_dagster.contracts.record import Vector

SINCE_CUMULATIVE = (1, 0, 80)
"""First build known to carry its counters over a resumption."""
RESUME, SHUTDOWN, COMPACTION = "resume", "shutdown", "compaction"


class Stretch(msgspec.Struct):
    """A part of a session that nothing interrupts."""

    begins_with: str | None = None
    output: int = 0
    """What its messages say."""
    billed: dict[str, Vector] = {}
    """What the shutdown that ends it added, by model."""


class Legs(msgspec.Struct):
    """The stretches of a session so far; the last one is open."""

    stretches: list[Stretch] = msgspec.field(default_factory=lambda: [Stretch()])

    @property
    def number(self) -> int:
        """Number of the open stretch."""
        return len(self.stretches) - 1

    def begin(self, kind: str) -> None:
        """Opens a stretch."""
        self.stretches.append(Stretch(kind))

    def add_output(self, tokens: int) -> None:
        """Counts a message of the open stretch."""
        self.stretches[-1].output += tokens

    def close(self, reported: dict[str, Vector], version: tuple[int, ...]) -> tuple[dict[str, Vector], range]:
        """What a shutdown adds to what was billed before, by model, and the stretches that it covers."""
        start = self._start(sum(vector[3] for vector in reported.values()), version)
        grown = self._grown(reported, start)
        if grown is None:  # a counter fell: they began anew
            start = self._leg()
            grown = self._grown(reported, start) or reported
        covered = range(start, len(self.stretches))
        self.stretches[-1].billed = grown
        self.begin(SHUTDOWN)
        return grown, covered

    def _start(self, output: int, version: tuple[int, ...]) -> int:
        usual = 0 if version >= SINCE_CUMULATIVE else self._leg()
        if not any(one.output for one in self.stretches):
            return usual
        since = [sum(one.output for one in self.stretches[at:]) for at in range(len(self.stretches))]
        return min(range(len(since)), key=lambda at: (abs(since[at] - output), abs(at - usual)))

    def _leg(self) -> int:
        """Where the running process began to count."""
        begins = (at for at in range(self.number, 0, -1) if self.stretches[at].begins_with != COMPACTION)
        return next(begins, 0)

    def _grown(self, reported: dict[str, Vector], start: int) -> dict[str, Vector] | None:
        grown: dict[str, Vector] = {}
        for model, vector in reported.items():
            before = [one.billed[model] for one in self.stretches[start:] if model in one.billed]
            rest = [now - sum(one[place] for one in before) for place, now in enumerate(vector)]
            if min(rest) < 0:
                return None
            grown[model] = (rest[0], rest[1], rest[2], rest[3], rest[4])
        return grown


def version_of(text: str | None) -> tuple[int, ...]:
    """A build as numbers; nothing where it is not told."""
    parts = (text or "").split("-")[0].split(".")
    return tuple(int(part) for part in parts) if all(part.isdecimal() and len(part) < 9 for part in parts) else ()
