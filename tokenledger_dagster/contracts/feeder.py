"""What `tokenledger feeder validate` says of a file: the feeders' contract as a verdict.

Here: the shape that every feeder's validation gives.  Not here: any feeder's rules (``feeders``), how it is printed.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

SAMPLES = 5
"""Positions told of each reason."""


class Rejected(msgspec.Struct, kw_only=True):
    """Records that break the contract in one way."""

    reason: str
    count: int = 0
    positions: list[str] = []
    """The first of them: ``line 3``, or a JSON pointer; never any content."""


class FeederReport(msgspec.Struct, kw_only=True):
    """One file held against its feeder's contract."""

    feeder: str
    path: str
    records: int = 0
    """Records looked at."""
    accepted: int = 0
    """Those that the client's adapter reads as the contract says."""
    rejected: list[Rejected] = []
    noted: dict[str, int] = {}
    """What is no violation but worth knowing, by name: records of another layout version, without usage, ..."""

    @property
    def is_valid(self) -> bool:
        """Whether nothing in the file breaks the contract."""
        return not self.rejected

    def accept(self) -> None:
        """Counts a good record."""
        self.records += 1
        self.accepted += 1

    def reject(self, reason: str, position: str) -> None:
        """Counts a bad record under a reason."""
        self.records += 1
        found = next((one for one in self.rejected if one.reason == reason), None)
        if found is None:
            found = Rejected(reason=reason)
            self.rejected.append(found)
        found.count += 1
        if len(found.positions) < SAMPLES:
            found.positions.append(position)

    def take_skipped(self, skipped: Mapping[str, int]) -> None:
        """Counts what the reading of the file passed over: lines without content are no violation."""
        for reason, count in skipped.items():
            for _ in range(count):
                if reason in ("blank", "nul_padding"):
                    self.note(reason)
                else:
                    self.reject(reason, "")

    def note(self, name: str) -> None:
        """Counts something worth knowing."""
        self.noted[name] = self.noted.get(name, 0) + 1
