"""Where speed stands, for the pipeline summary: the last bench and the last verdict of the gate, as a home keeps them.

Here: reading two small files.  Not here: measuring: a pipeline run measures nothing, and an old verdict says when it
was made.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from tokenledger_dagster.contracts.bench import BENCH_SCHEMA_VERSION, BenchResult
from tokenledger_dagster.contracts.perf import PERF_SCHEMA_VERSION, GateResult
from tokenledger_dagster.contracts.summaries import Stage
from tokenledger_dagster.home import Home

T = TypeVar("T", BenchResult, GateResult)

_LARGEST_FILE = 4 << 20
"""A result of a whole day's polls has one; more is none of ours, and a summary must not wait for it."""
_VERSIONS: dict[type, int] = {BenchResult: BENCH_SCHEMA_VERSION, GateResult: PERF_SCHEMA_VERSION}


def stages(home: Home) -> dict[str, Stage]:
    """The stages ``bench`` and ``perf_gate``; skipped, with a reason, where the home keeps none."""
    bench = _read(home.bench_summary_path, BenchResult, "no bench yet; `tokenledger bench run` makes one")
    gate = _read(home.gate_summary_path, GateResult, "no gate yet; `tokenledger bench gate` runs one")
    return {
        "bench": _skipped(bench) if isinstance(bench, str) else _bench(bench, home.bench_summary_path),
        "perf_gate": _skipped(gate) if isinstance(gate, str) else _gate(gate, home.gate_summary_path),
    }


def _read(path: Path, kind: type[T], missing: str) -> T | str:
    """The document, or why there is none."""
    try:
        if path.stat().st_size > _LARGEST_FILE:
            return f"{path}: is larger than {_LARGEST_FILE >> 20} MB; run it again"
        found = msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, NotADirectoryError):
        return missing
    except OSError as error:
        return f"{path}: {error.strerror or error}; make it readable"
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return f"{path}: cannot be understood; run it again"
    if found.schema_version != _VERSIONS[kind]:
        return f"{path}: has schema version {found.schema_version}; run it again with this version"
    return found


def _skipped(reason: str) -> Stage:
    return Stage(skipped=True, details={"reason": reason})


def _bench(found: BenchResult, path: Path) -> Stage:
    steps = {
        f"{scenario.name}/{step.name}": {
            "wall_s": step.median.wall_s,
            "mb_per_s": step.median.mb_per_s,
            "events_per_s": step.median.events_per_s,
            "ratio": step.ratio.cpu if step.ratio else None,
        }
        for scenario in found.scenarios
        for step in scenario.steps
    }
    return Stage(
        details={
            "measured_at": found.generated_at,
            "passed": found.passed,
            "scenarios": list(dict.fromkeys(scenario.name for scenario in found.scenarios)),
            "steps": steps,
            "machine_class": found.machine.class_key or found.machine.machine_class,
            "commit": found.versions.commit,
            "summary": str(path),
        }
    )


def _gate(found: GateResult, path: Path) -> Stage:
    matches = {row.match for row in found.rows if row.ratio is not None}
    return Stage(
        details={
            "judged_at": found.generated_at,
            "passed": found.passed,
            "strict": found.strict,
            "baseline": found.baseline_path,
            "match": next((name for name in ("none", "nearest", "exact") if name in matches), "none"),
            "failures": found.failures,
            "commit": found.versions.commit,
            "summary": str(path),
        }
    )
