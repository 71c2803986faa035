"""``tokenledger bench cache``: the aggregate cache on the bundled sample, run by run.

Here: arguments, the table, the exit code.  Not here: the runs (``bench.cache``).
"""

from __future__ import annotations

import argparse
import sys

from tokenledger_dagster.cli import common, output
from tokenledger_dagster.contracts.cache_bench import CacheResult
from tokenledger_dagster.settings import Settings

ABOUT = "show the aggregate cache miss, hit and invalidate on the bundled sample"
EXAMPLES = ("cache", "cache --format json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How the result is printed."""
    output.add_format(parser, ("table", "json"))


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Prints what each run counted; 1 where it had to count something else, or a kept figure was another."""
    from tokenledger_dagster.bench.cache import measure_cache

    result = measure_cache()
    if args.format == "json":
        output.print_json(result)
    else:
        sys.stdout.write(_table(result))
    for one in result.runs:
        if one.actual != one.expected:
            common.note(f"WRONG: run {one.name}: counted {_told(one.actual)}, should be {_told(one.expected)}")
        if not one.equals_uncached:
            common.note(f"WRONG: run {one.name}: a kept document is not what is computed without the cache")
    return 0 if result.passed else 1


def _table(result: CacheResult) -> str:
    rows = [
        [
            one.name,
            one.about,
            *(str(getattr(one.actual, name)) for name in ("hit_count", "miss_count", "invalidate_count")),
            "as computed" if one.equals_uncached else "WRONG",
            "ok" if one.passed else "WRONG",
        ]
        for one in result.runs
    ]
    text = output.render(["Run", "What changed", "Hit", "Miss", "Invalidate", "Documents", ""], rows, "table", 2)
    return f"{text}months of the sample: {', '.join(result.months)}\n"


def _told(counts: object) -> str:
    names = ("hit", "miss", "invalidate")
    return ", ".join(f"{name} {getattr(counts, f'{name}_count')}" for name in names)
