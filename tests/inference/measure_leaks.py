"""What a process keeps of a model that it loads and gives up again and again: memory, open files, threads.

Here: N cycles of loading through the load check, one answer and giving up, by the cache; after each the resident
memory, files and threads, from ``/proc``.  Not here: assertions (``test_leaks``).

    python tests/inference/measure_leaks.py --cycles 300 --backend onnx
    python tests/inference/measure_leaks.py --cycles 100 --model ~/.local/share/tokenledger/models/all-MiniLM-L6-v2
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from tests.inference.toy import toy_model  # noqa: E402
from tokenledger_dagster.inference.backend import BACKENDS, BackendName  # noqa: E402
from tokenledger_dagster.inference.loading import load_backend  # noqa: E402
from tokenledger_dagster.inference.manifest import read_manifest  # noqa: E402
from tokenledger_dagster.inference.model_cache import Key, ModelCache  # noqa: E402
from tokenledger_dagster.inference.model_folder import ModelFolder  # noqa: E402

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Sample(NamedTuple):
    """The process after one cycle."""

    rss_bytes: int
    files: int
    threads: int


def sample() -> Sample:
    rss = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES
    return Sample(rss, len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")))


def cycles(folder: ModelFolder, backend: BackendName, count: int, *, keep: bool = False) -> list[Sample]:
    """Loads, asks and gives up so many times; a sample after each. With ``keep``, what was loaded stays."""
    kept = []
    manifest = read_manifest(folder)
    cache = ModelCache(
        lambda key: load_backend(key.backend, folder, manifest, threads=key.threads),
        max_items=1,
        max_bytes=2**40,
        idle_ttl_s=3_600,
    )
    key = Key(manifest.weights_sha256, backend)
    ids = np.array([manifest.golden[0].ids], dtype=np.int64)
    samples = []
    for _ in range(count):
        with cache.lease(key) as loaded:
            loaded.embed(ids, np.ones_like(ids), timeout_s=60)
        if keep:
            kept.append(load_backend(backend, folder, manifest))
        del loaded
        cache.discard(key)
        gc.collect()
        samples.append(sample())
    assert cache.standing().evictions == {"unhealthy": count}
    return samples


def kib_per_cycle(samples: list[Sample]) -> float:
    """Slope of the resident memory by least squares, in KiB per cycle."""
    slope, _ = np.polyfit(np.arange(len(samples)), [one.rss_bytes / 1024 for one in samples], 1)
    return float(slope)


def main() -> None:
    """Measures and prints one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=300)
    parser.add_argument("--backend", choices=BACKENDS, default="onnx")
    parser.add_argument("--model", type=Path, help="a built model's folder; a toy model without it")
    parser.add_argument("--keep", action="store_true", help="leak on purpose, to see that the figures tell it")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = ModelFolder(args.model) if args.model else toy_model(Path(temporary) / "toy")
        samples = cycles(folder, args.backend, args.cycles, keep=args.keep)
    half = samples[len(samples) // 2 :]
    figures = {
        "cycles": len(samples),
        "kib_per_cycle": round(kib_per_cycle(samples), 2),
        "kib_per_cycle_second_half": round(kib_per_cycle(half), 2),
        "rss_mib": [round(one.rss_bytes / 2**20, 1) for one in (samples[0], half[0], samples[-1])],
        "files": sorted({one.files for one in half}),
        "threads": sorted({one.threads for one in half}),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
