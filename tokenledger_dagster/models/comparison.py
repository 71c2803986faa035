"""How models are compared: `config/pareto.yaml` as values.

Here: reading and checking the file. Not here: comparing (`frontier.py`).
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Literal

import msgspec

from tokenledger_dagster.contracts.ledger import OBJECTIVES
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.models.rules import CONFIG_DIRECTORY
from tokenledger_dagster.models.scores import Bounds

PATH = CONFIG_DIRECTORY / "pareto.yaml"
MIX = ("input", "cache_write", "cache_read", "output")
"""Token classes that a usage mix is made of."""

CostBasis = Literal["usd_per_mtok", "usd_per_task"]
LatencyBasis = Literal["s_per_task", "ms_per_request"]


class ComparisonError(TokenLedgerError):
    """The file cannot be used; the message names it, the place and the remedy."""


class Figure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row of the benchmark table."""

    benchmark: str
    notes: str

    @property
    def name(self) -> str:
        """Benchmark and harness in one text."""
        return f"{self.benchmark} | {self.notes}"


class Cost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What counts as cost: the blended list price, or a row of the benchmark table."""

    basis: CostBasis
    benchmark: str = ""
    notes: str = ""


class Latency(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What counts as latency: own requests, or a row of the benchmark table."""

    basis: LatencyBasis
    benchmark: str = ""
    notes: str = ""


class ObjectiveSet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one frontier compares."""

    objectives: str
    quality: Figure
    cost: Cost
    latency: Latency | None = None


class Comparison(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    usage_mix: dict[str, Decimal]
    """Shares of tokens, which sum to 1."""
    objective_sets: tuple[ObjectiveSet, ...]
    live_objective_sets: tuple[ObjectiveSet, ...]
    weights: dict[str, dict[str, Decimal]]
    bounds: dict[str, Bounds]
    minimum_requests: Decimal
    prior_requests: Decimal

    @property
    def quality(self) -> Figure:
        """The quality that the ledger's own column shows: that of the first set."""
        return self.objective_sets[0].quality


def load_comparison(path: Path = PATH) -> Comparison:
    """Return the settings of the comparison.

    Raises:
        ComparisonError: the file is missing or says something that cannot be meant.
    """
    import yaml

    try:
        document = yaml.load(path.read_text("utf-8"), Loader=yaml.BaseLoader)
        found = msgspec.convert(document, Comparison, strict=False)
    except OSError as error:
        raise ComparisonError(f"{path}: {error.strerror or error}; install TokenLedger again") from error
    except (yaml.YAMLError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ComparisonError(f"{path}: {str(error).splitlines()[0]}; mend the file") from error
    for problem in _problems(found):
        raise ComparisonError(f"{path}: {problem}; mend the file")
    return found


def _problems(found: Comparison) -> list[str]:
    told = []
    if set(found.usage_mix) != set(MIX) or sum(found.usage_mix.values()) != 1 or min(found.usage_mix.values()) < 0:
        told.append(f"usage_mix: needs shares of {', '.join(MIX)} that sum to 1")
    for sets in (found.objective_sets, found.live_objective_sets):
        if tuple(one.objectives for one in sets) != OBJECTIVES:
            told.append(f"objective_sets: needs {' and '.join(OBJECTIVES)}, once each")
    for name in OBJECTIVES:
        weights = found.weights.get(name, {})
        if set(weights) != set(name.split("+")) or sum(weights.values()) != 1 or min(weights.values()) < 0:
            told.append(f"weights.{name}: needs weights of its objectives that sum to 1")
    for name, one in found.bounds.items():
        if one.worst == one.best or (name != "quality" and min(one.worst, one.best) <= 0):
            told.append(f"bounds.{name}: needs two different bounds, of costs and latencies above 0")
    return told
