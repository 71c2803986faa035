"""A corpus: made-up logs of both clients of a stated size, their exact truth, and the means to let them grow.

Here: which files there are and how large, writing, appending.  Not here: what a row looks like (``bench.claude_rows``,
``bench.codex_rows``).  The same shape, size and seed give the same bytes.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Literal, TypeAlias, get_args

import msgspec

from tokenledger_dagster.bench.claude_rows import ClaudeSession
from tokenledger_dagster.bench.clock import DAY_MS, millis
from tokenledger_dagster.bench.codex_rows import CodexThread
from tokenledger_dagster.bench.truth import Truth
from tokenledger_dagster.bench.workload import Prose, Workload, load_workload
from tokenledger_dagster.contracts.bench import CorpusFacts

Shape = Literal["default", "single-file", "many-files"]
SHAPES: tuple[str, ...] = get_args(Shape)
Session: TypeAlias = ClaudeSession | CodexThread
Progress = Callable[[int, int], None]
"""Called with bytes written and bytes wanted."""

MB = 1_000_000
LIVE_SESSIONS = 64
"""Sessions that may go on later: the ones that ended last."""
OPEN_SESSIONS = 3
"""Sessions that are worked in at a time."""
_CHANGE_CHANCE = 1 / 120
_BUFFER_BYTES = 1 << 20
_APPEND_BYTES = 250_000
"""What one session gains at most when a corpus grows, unless too few sessions are live."""


class Spec(msgspec.Struct, frozen=True):
    """What to write."""

    size: int
    """Bytes."""
    seed: int = 1
    shape: Shape = "default"


class Corpus:
    """Logs below ``home`` as two agents leave them in a person's HOME."""

    def __init__(self, home: Path, spec: Spec, work: Workload | None = None) -> None:
        self.home = home
        self.spec = spec
        self.truth = Truth()
        self.bytes = 0
        self.files = 0
        self._work = _fitted(work or load_workload(), spec.shape)
        self._rng = random.Random(f"{spec.shape}/{spec.size}/{spec.seed}")
        self._prose = Prose(self._work, random.Random(f"prose/{spec.seed}"))
        self._first_ms = millis(self._work.first_day)
        self._live: list[Session] = []
        self._open: list[Session] = []
        self._claude_donor: ClaudeSession | None = None
        self._codex_donor: CodexThread | None = None
        self._claude_bytes = 0
        self._claude_sessions = 0
        self._codex_threads = 0

    @property
    def facts(self) -> CorpusFacts:
        """The corpus as it is now."""
        return CorpusFacts(
            shape=self.spec.shape,
            seed=self.spec.seed,
            bytes=self.bytes,
            files=self.files,
            events=self.truth.events,
            usage_rows=self.truth.usage_rows,
        )

    def write(self, progress: Progress | None = None) -> None:
        """Writes the whole corpus.  Raises OSError where the disk refuses."""
        if self.spec.shape == "single-file":
            self._write_session(self._claude(), self.spec.size, progress=progress)
            return
        while self.bytes < self.spec.size:
            left = self.spec.size - self.bytes
            session = self._next_session()
            self._write_session(session, min(self._file_size(), left), self._opening(session))
            if progress is not None:
                progress(self.bytes, self.spec.size)

    def grow(self, size: int) -> None:
        """Appends about ``size`` bytes never seen before: to live sessions, and in one new file of each client."""
        goal = self.bytes + size
        if self.spec.shape != "single-file" and size > 20 * self._work.smallest_file_bytes:
            for session in (self._claude(), self._codex()):
                self._write_session(session, size // 20)
        count = min(len(self._live), max(1, (goal - self.bytes) // _APPEND_BYTES))
        for place, session in enumerate(self._rng.sample(self._live, count)):
            self._append(session, (goal - self.bytes) // (count - place))

    def touch(self) -> None:
        """Appends the rows of one request to one live session, as an agent at work does."""
        self._append(self._rng.choice(self._live), 1)

    def work(self) -> None:
        """Appends the rows of one request to one, two or three sessions at work; now and then one ends, one begins."""
        if not self._open or self._rng.random() < _CHANGE_CHANCE:
            session = self._next_session()
            self._write_session(session, self._work.smallest_file_bytes, self._opening(session))
            self._open = [*self._open, session][-OPEN_SESSIONS:]
        for session in self._rng.sample(self._open, self._rng.randint(1, len(self._open))):
            self._append(session, 1)

    def write_truth(self, path: Path) -> None:
        """Writes the truth of everything written so far."""
        self.truth.write(path, msgspec.structs.asdict(self.facts))

    # ---------------------------------------------------------------- sessions

    def _next_session(self) -> Session:
        """Of the client that lags behind its share of the bytes."""
        return self._claude() if self._claude_bytes <= self.bytes * self._work.claude.share else self._codex()

    def _claude(self) -> ClaudeSession:
        return ClaudeSession(self._work, self._prose, self.truth, self._own_rng(), self._start())

    def _codex(self) -> CodexThread:
        return CodexThread(self._work, self._prose, self.truth, self._own_rng(), self._start())

    def _own_rng(self) -> random.Random:
        return random.Random(self._rng.getrandbits(64))

    def _start(self) -> int:
        return self._first_ms + self._rng.randrange(self._work.days * DAY_MS)

    def _file_size(self) -> int:
        work = self._work
        if self.spec.shape == "many-files":
            return work.tiny_file_bytes
        middle = math.log(work.mean_file_bytes) - work.file_size_sigma**2 / 2
        drawn = int(self._rng.lognormvariate(middle, work.file_size_sigma))
        return max(work.smallest_file_bytes, min(drawn, work.largest_file_bytes, self.spec.size // 4))

    # ---------------------------------------------------------------- files

    def _write_session(
        self, session: Session, size: int, opening: list[bytes] | None = None, progress: Progress | None = None
    ) -> None:
        """Writes its file: the opening, then whole requests, at least one, until ``size`` bytes are there."""
        rows = session.open() if opening is None else opening
        path = self.home / session.path
        path.parent.mkdir(parents=True, exist_ok=True)
        before, goal = self.bytes, self.bytes + size
        self.files += 1
        with path.open("xb", buffering=_BUFFER_BYTES) as handle:
            self._write_rows(handle, rows)
            while True:
                self._write_rows(handle, session.step())
                self._write_side_files(session)
                if progress is not None:
                    progress(self.bytes - before, size)
                if self.bytes >= goal:
                    break
        if isinstance(session, ClaudeSession):
            self._claude_bytes += self.bytes - before
        self._keep(session)

    def _opening(self, session: Session) -> list[bytes]:
        """The first rows; of every few sessions one begins with rows of an earlier one of its client."""
        if self.spec.shape != "default":
            return session.open()
        if isinstance(session, ClaudeSession):
            self._claude_sessions += 1
            if self._claude_donor is not None and _is_turn(self._claude_sessions, self._work.claude.resume_every):
                return [*session.open(), *session.resume(self._claude_donor)]
            self._claude_donor = session
            return session.open()
        self._codex_threads += 1
        if self._codex_donor is not None and _is_turn(self._codex_threads, self._work.codex.fork_every):
            return session.fork(self._codex_donor)
        self._codex_donor = session
        return session.open()

    def _append(self, session: Session, size: int) -> None:
        """Whole requests, at least one, until ``size`` bytes are there."""
        goal = self.bytes + size
        with (self.home / session.path).open("ab", buffering=_BUFFER_BYTES) as handle:
            while self.bytes < goal:
                self._write_rows(handle, session.step())
                self._write_side_files(session)

    def _write_rows(self, handle: BinaryIO, rows: list[bytes]) -> None:
        handle.writelines(rows)
        self.bytes += sum(map(len, rows))

    def _write_side_files(self, session: Session) -> None:
        for name, rows in session.side_files:
            path = self.home / session.side_folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as handle:
                handle.writelines(rows)
            self.bytes += sum(map(len, rows))
            self.files += 1
        session.side_files.clear()

    def _keep(self, session: Session) -> None:
        """Keeps the sessions that ended last: those a person still works in."""
        self._live.append(session)
        if len(self._live) > LIVE_SESSIONS:
            self._live.remove(min(self._live, key=lambda one: one.clock_ms))


def _is_turn(number: int, every: int) -> bool:
    """Whether it is this one's turn, early enough that small corpora see it too."""
    return number % every == every // 2


def _fitted(work: Workload, shape: Shape) -> Workload:
    """The workload as a shape needs it: one file has no helpers beside it, tiny files hold small results."""
    if shape == "default":
        return work
    claude = msgspec.structs.replace(work.claude, subagent_chance=0.0)
    if shape == "single-file":
        return msgspec.structs.replace(work, claude=claude)
    small = work.tiny_file_bytes // 10
    return msgspec.structs.replace(
        work,
        claude=msgspec.structs.replace(claude, mean_result_bytes=small),
        codex=msgspec.structs.replace(
            work.codex, mean_result_bytes=small, instructions_bytes=small, compacted_chance=0.0
        ),
    )
