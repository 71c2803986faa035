"""How the gate measures and judges and the trend compares: `config/perf_gate.yaml` as values.

Here: reading and checking the file.  Not here: judging (``bench.gate``, ``bench.trend``), and baselines, which are
measured (``bench.baseline``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from tokenledger_dagster.contracts.perf import Tolerance
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.settings import DEFAULT_CONFIG

PATH = DEFAULT_CONFIG.with_name("perf_gate.yaml")

_Count = Annotated[int, msgspec.Meta(ge=1, le=10_000)]


class GatePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a gate measures and judges."""

    size_mb: Annotated[float, msgspec.Meta(ge=0.01, le=1_000_000)]
    rounds: _Count
    record_rounds: _Count
    tolerance: Tolerance
    nearest_factor: Annotated[float, msgspec.Meta(ge=1, le=100)]
    """What ``tolerance`` is multiplied by where the baseline is another machine's or month's."""


class TrendPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a trend compares."""

    window: Annotated[int, msgspec.Meta(ge=2, le=10_000)]
    least_runs: Annotated[int, msgspec.Meta(ge=2, le=10_000)]
    threshold: Annotated[float, msgspec.Meta(ge=0, le=100)]


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    gate: GatePolicy
    trend: TrendPolicy


def load_policy(path: Path = PATH) -> Policy:
    """The committed policy.  Raises TokenLedgerError where the file is missing or says what cannot be meant."""
    import yaml

    try:
        return msgspec.convert(yaml.safe_load(path.read_bytes()), Policy)
    except OSError as error:
        raise TokenLedgerError(f"{path}: {error.strerror or error}; install TokenLedger again") from error
    except (yaml.YAMLError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise TokenLedgerError(f"{path}: {str(error).splitlines()[0]}; mend the file") from error
