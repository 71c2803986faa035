"""A benchmark table and a price list small enough to work the ledger out by hand.

List prices, USD per million tokens (input, output, cache write, cache read):

    anthropic   claude-opus-4-5   5     25     6.25    0.50     its own maker
    aws         claude-opus-4-5   5.50  27.50  6.875   0.55     a reseller, dearer
    openrouter  claude-opus-4-5   4     20     4       0.40     a reseller, cheaper
    openai      gpt-5.4           2.50  15     2.50    0.25     above 272,000 tokens 5 and 22.50
    openai      gpt-5             1.25  10     1.25    0.125
    zai         glm-5             1     3.20   1       0.20
    openrouter  kimi-k2           0.57  2.30   0.57    0.57     a reseller alone: its maker states none

The table has a model that nobody knows, and one benchmark for each of the shipped objective sets.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from functools import cache

import pytest

from tokenledger_dagster.contracts.ledger import RuntimeMetric
from tokenledger_dagster.models import artifacts
from tokenledger_dagster.models.artifacts import Build
from tokenledger_dagster.models.comparison import Comparison, load_comparison
from tokenledger_dagster.models.seed import SeedRow, normalise
from tokenledger_dagster.models.unified import Entry, InUse, unified_ledger
from tokenledger_dagster.pricing.book import Book
from tokenledger_dagster.pricing.rate_table import RateTable
from tokenledger_dagster.pricing.rates import COLUMNS, STANDARD

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
TABLE = """\
| Benchmark | Notes | GPT-5.4 | Claude Opus 4.5 | GPT-5 (high) | GPT-5 (low) | GLM-5 | Acme Coder 9 | Kimi K2 |
| Input Price | $/1M tokens | $2.50 | $5.00 | $1.25 | $1.25 | $2.00 | $3.00 | — |
| Output Price | $/1M tokens | $15.00 | $25.00 | $10.00 | $10.00 | — | $9.00 | — |
| SWE-Bench Pro | Public set, Scale leaderboard | 60% | 50% | — | — | 40% | 70% | 30% |
| Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting | — | 72% | 88% | 80% | 60% | — | 59% |
| Aider Polyglot cost per case | USD per exercise; same runs | — | $0.30 | $0.13 | $0.05 | $0.06 | — | $0.00 |
| Aider Polyglot seconds per case | Seconds per exercise; same runs | — | 44 | 194 | 62 | — | — | 68 |
"""


@cache
def comparison() -> Comparison:
    """The shipped settings."""
    return load_comparison()


def seed(text: str = TABLE) -> list[SeedRow]:
    """A pipe table in long form."""
    return normalise(text, name="models.csv")


def rate(
    channel: str, model: str, *usd: str, context: str = STANDARD, own: bool = True, high: str = "", **cells: str
) -> list[str]:
    """A row of a price list: input, output, cache write, cache read; `high` the same above the step."""
    named = {"channel": channel, "model": model, "context": context, **_units(usd, "")}
    if high:
        named |= _units(high.split(), "_high")
    named |= {"own_channel": "yes" if own else "", "source": "a list", "source_version": "1"}
    named |= {"status": "active", "confidence": "100", **cells}
    return [named.get(name, "") for name in COLUMNS]


def _units(usd: tuple[str, ...] | list[str], ending: str) -> dict[str, str]:
    fresh, output, write, read = (str(int(Decimal(one) * 10**9)) for one in usd)
    units = dict.fromkeys(("cache_write_5m", "cache_write_1h"), write)
    return {
        f"{name}{ending}": cell
        for name, cell in {**units, "input": fresh, "output": output, "cache_read": read}.items()
    }


RATES = [
    rate("anthropic", "claude-opus-4-5", "5", "25", "6.25", "0.5"),
    rate("aws", "claude-opus-4-5", "5.5", "27.5", "6.875", "0.55", own=False),
    rate("openrouter", "claude-opus-4-5", "4", "20", "4", "0.4", own=False),
    rate(
        *("openai", "gpt-5.4", "2.5", "15", "2.5", "0.25"),
        high="5 22.5 5 0.5",
        tier_from_tokens="272000",
        tier_inclusive="false",
    ),
    rate("openai", "gpt-5", "1.25", "10", "1.25", "0.125"),
    rate("zai", "glm-5", "1", "3.2", "1", "0.2"),
    rate("openrouter", "kimi-k2", "0.57", "2.3", "0.57", "0.57", own=False),
]

REQUESTS = RuntimeMetric(
    provider="codex",
    model="gpt-5.4",
    requests=40,
    failures=1,
    latency_p50_ms=900,
    latency_p95_ms=None,
    ttft_p50_ms=None,
    quality_score=None,
    source_path="queue.jsonl",
    latency_samples=39,
)


def entries(
    text: str = TABLE,
    rates: list[list[str]] | None = None,
    *,
    as_of: datetime = NOON,
    in_use: tuple[InUse, ...] = (),
    book: Book | None = None,
) -> list[Entry]:
    """The ledger of a table and a price list."""
    table = RateTable(RATES if rates is None else rates, "0" * 16, book=book)
    return unified_ledger(seed(text), table, comparison(), as_of, in_use)


@cache
def small_build() -> Build:
    """Everything that a build makes, of the small table: 42 cells, 9 models, one of them with a hostile name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(artifacts, "seed_rows", seed)
        return artifacts.make_build(
            RateTable(RATES, "0" * 16),
            NOON,
            comparison(),
            sets=comparison().objective_sets,
            mix=comparison().usage_mix,
            in_use=[InUse("claude", "house\rmodel, a 'quoted' one")],
            runtime=[REQUESTS],
        )


def by_name(found: list[Entry]) -> dict[str, Entry]:
    """Entries by source model."""
    return {one.row.source_model: one for one in found}
