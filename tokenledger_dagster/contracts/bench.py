"""Results of a bench: what was measured on which machine and input, and whether every figure was right.

Here: the shapes of ``bench/<UTC stamp>.json`` and ``latest-summary.json``, and their schema version.  Not here: how
anything is measured (``bench``).
"""

from __future__ import annotations

import msgspec

BENCH_SCHEMA_VERSION = 1


class Machine(msgspec.Struct, kw_only=True):
    """Where it was measured."""

    machine_class: str
    """Equal for machines whose figures may be compared: system, architecture, cores, processor."""
    cpu_model: str
    cores: int
    memory_bytes: int | None
    system: str
    python: str
    class_key: str = ""
    """``machine_class`` with what else speed depends on, coarsely: memory as a power of two, the interpreter's minor
    version.  No name of a host.  Empty in results of earlier versions."""


class Versions(msgspec.Struct, kw_only=True):
    """What was measured."""

    tokenledger: str
    commit: str | None
    """Of the checkout, None outside one; ``+`` at the end where files differ from it."""
    msgspec: str
    sqlite: str


class CorpusFacts(msgspec.Struct, kw_only=True):
    """The made-up logs."""

    shape: str
    seed: int
    bytes: int
    files: int
    events: int
    usage_rows: int
    """Rows with usage, copies among them."""


class WorkloadFacts(msgspec.Struct, kw_only=True):
    """What was asked for: runs of equal ``name`` and ``month`` read equal logs in the same way."""

    name: str
    """All of the below but the month as one text."""
    size: int
    """Bytes asked for; ``corpus.bytes`` is what they came to."""
    shape: str
    seed: int
    month: str
    """In which the logs begin, YYYY-MM."""
    definition: str
    """Digest of the shares, sizes and names that logs are made of."""


class Round(msgspec.Struct, kw_only=True):
    """One process, measured from outside."""

    wall_s: float
    user_s: float
    system_s: float
    """User and system time include processes that the command waited for."""
    new_bytes: int = 0
    new_events: int = 0

    @property
    def cpu_s(self) -> float:
        """User and system time."""
        return self.user_s + self.system_s


class Medians(msgspec.Struct, kw_only=True):
    """Medians over all rounds, each by itself."""

    wall_s: float
    cpu_s: float
    wall_p95_s: float
    """Nearest rank."""
    mb_per_s: float | None = None
    """New bytes over wall time, in millions; None where nothing new was read."""
    events_per_s: float | None = None


class Ratio(msgspec.Struct, kw_only=True):
    """Rounds over the reference that was run just before each of them; medians of the single ratios."""

    reference: str
    """Name and version of what was run: ratios to different references cannot be compared."""
    cpu: float
    """Of processor time."""
    wall: float


class Memory(msgspec.Struct, kw_only=True):
    """The most memory at one moment, taken in a run of its own that is not timed."""

    peak_bytes: int
    method: str
    """``pss_of_tree``: sampled sum over all processes; ``ru_maxrss``: of the command's process alone."""


class Difference(msgspec.Struct, kw_only=True):
    """A figure that is not what the generator knows it to be."""

    day: str
    model: str
    figure: str
    actual: int
    expected: int


class Correctness(msgspec.Struct, kw_only=True):
    """Every compared figure: totals, days, day x model."""

    passed: bool
    compared: int
    different: int
    first_differences: list[Difference] = []


class LakeFacts(msgspec.Struct, kw_only=True):
    """What lies below ``lake/``."""

    files: int
    bytes: int


class Step(msgspec.Struct, kw_only=True):
    """The same thing done several times."""

    name: str
    """``cold``, ``warm``, ``tail`` or ``poll``; ``before`` and ``after`` a day of polls."""
    command: list[str]
    rounds: list[Round]
    median: Medians
    memory: Memory | None = None
    correctness: Correctness
    reference: list[Round] = []
    """What reading the same bytes and finding their newlines took, before each round."""
    ratio: Ratio | None = None
    """None in results of earlier versions, and of syncs within one process."""


class Scenario(msgspec.Struct, kw_only=True):
    """Steps over one corpus and one home."""

    name: str
    corpus: CorpusFacts
    """Before the first step."""
    steps: list[Step]
    lake: LakeFacts
    """After the last step."""
    workload: WorkloadFacts | None = None
    """None in results of earlier versions."""


class BenchResult(msgspec.Struct, kw_only=True):
    """One bench."""

    schema_version: int = BENCH_SCHEMA_VERSION
    generated_at: str
    kind: str
    """``run`` or ``growth``."""
    passed: bool
    duration_ms: int
    machine: Machine
    versions: Versions
    scenarios: list[Scenario]


class StageCost(msgspec.Struct, kw_only=True):
    """One stage of a cold run."""

    name: str
    cpu_s: float
    """Seconds of processor time that the stage adds to those before it."""
    share: float
    """Of all stages."""


class ProfileResult(msgspec.Struct, kw_only=True):
    """Where the time of a cold run goes."""

    schema_version: int = BENCH_SCHEMA_VERSION
    generated_at: str
    kind: str = "profile"
    machine: Machine
    versions: Versions
    corpus: CorpusFacts
    total_wall_s: float
    total_cpu_s: float
    limit_cpu_s: float
    """Reading every byte and finding every newline: what no reader can go below."""
    stages: list[StageCost]


class ClientSpeed(msgspec.Struct, kw_only=True):
    """How fast one client's logs are read; times are medians of whole processes, seconds."""

    client: str
    bytes: int
    files: int
    records: int
    events: int
    cold_s: float
    """A first sync of everything."""
    tail_s: float
    """A sync after ``tail_share`` more had appeared."""
    tail_share: float
    mb_per_s: float
    """Of the first sync, as the next."""
    records_per_s: float


class ClientsResult(msgspec.Struct, kw_only=True):
    """What ``bench clients`` found."""

    schema_version: int = BENCH_SCHEMA_VERSION
    generated_at: str
    machine: Machine
    versions: Versions
    clients: list[ClientSpeed]
