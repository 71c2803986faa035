"""How many texts a second each backend embeds: by length and batch, on one thread, with a built model.

Here: batches of random tokens of one length, in rounds, each backend and size in turn within every round; loading, its
memory, and whole texts through the embedder; a table, and with `--json` the figures beside the machine's facts. Not
here: assertions; this is a tool, not a test.

    python tests/inference/measure_throughput.py ~/.local/share/tokenledger/models/all-MiniLM-L6-v2
    python tests/inference/measure_throughput.py MODEL --rounds 7 --json docs/performance/inference.json

Other work on the machine moves absolute figures by half; what a round compares was measured within seconds.
"""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import os
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
# numpy's own libraries take every core unless they are told before they are loaded
os.environ |= dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)

import msgspec  # noqa: E402
import numpy as np  # noqa: E402

from tokenledger_dagster.bench.machine import machine, versions  # noqa: E402
from tokenledger_dagster.contracts.bench import Machine, Versions  # noqa: E402
from tokenledger_dagster.errors import TokenLedgerError  # noqa: E402
from tokenledger_dagster.fileio import write_json_atomic  # noqa: E402
from tokenledger_dagster.inference.backend import BackendName, EmbeddingBackend, LoadRefusedError  # noqa: E402
from tokenledger_dagster.inference.chain import Chain  # noqa: E402
from tokenledger_dagster.inference.embedder import Embedder  # noqa: E402
from tokenledger_dagster.inference.loading import load_backend  # noqa: E402
from tokenledger_dagster.inference.manifest import read_manifest  # noqa: E402
from tokenledger_dagster.inference.model_cache import ModelCache  # noqa: E402
from tokenledger_dagster.inference.model_folder import Manifest, ModelFolder  # noqa: E402
from tokenledger_dagster.inference.policy import policy  # noqa: E402
from tokenledger_dagster.inference.tokenization import load_embedding_tokenizer  # noqa: E402

LENGTHS = (32, 128, 256)
BATCHES = (1, 8, 32)
TEXTS = 200
"""Texts of mixed lengths for the embedder."""
FIRST_ID = 1_000
"""Ids below are special tokens and unused ones."""
PACKAGES = ("numpy", "onnxruntime", "coremltools", "tokenizers", "safetensors")


class Loading(msgspec.Struct, frozen=True):
    """Getting one backend ready."""

    backend: str
    seconds: list[float]
    """Of each round, all checks of the load among them."""
    accounted_bytes: int
    resident_bytes: int | None
    """By which the process grew the first time; None without `/proc`."""


class Rate(msgspec.Struct, frozen=True):
    """One backend and size."""

    backend: str
    tokens: int
    rows: int
    texts_per_s: list[float]
    """Of each round."""
    median: float


class WholeTexts(msgspec.Struct, frozen=True):
    """Texts of mixed lengths through tokenizer, sorting, batches and checks."""

    backend: str
    texts: int
    tokens: int
    texts_per_s: list[float]
    median: float


class Throughput(msgspec.Struct, frozen=True):
    """`docs/performance/inference.json`."""

    schema_version: int
    generated_at: datetime
    kind: str
    machine: Machine
    versions: Versions
    packages: dict[str, str]
    model: str
    threads: int
    rounds: int
    refused: dict[str, str]
    """Backends that cannot run here, and why."""
    loading: list[Loading]
    rates: list[Rate]
    whole_texts: list[WholeTexts]


def resident() -> int | None:
    """Resident bytes of this process."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


def measure(folder: ModelFolder, rounds: int, least_s: float) -> Throughput:
    """All figures.

    Args:
        folder: a built model.
        rounds: how often each size is measured.
        least_s: seconds that one measurement takes at least.
    """
    manifest = read_manifest(folder)
    backends: dict[BackendName, EmbeddingBackend] = {}
    refused: dict[str, str] = {}
    loading: list[Loading] = []
    for name in get_args(BackendName):
        try:
            backends[name], figures = loaded(name, folder, manifest, rounds)
            loading.append(figures)
        except LoadRefusedError as error:
            refused[name] = f"{error.stage}: {str(error).removeprefix(f'{name}: ')}"
            print(f"{name}: {refused[name]}", file=sys.stderr)
    found: dict[tuple[BackendName, int, int], list[float]] = {}
    whole: dict[BackendName, list[float]] = {}
    texts = mixed_texts(manifest)
    tokens = 0
    for number in range(rounds):
        for tokens_of, rows in ((length, rows) for length in LENGTHS for rows in BATCHES):
            for name, backend in backends.items():
                if tokens_of <= backend.max_tokens:
                    rate = texts_per_second(backend, manifest, tokens_of, rows, least_s)
                    found.setdefault((name, tokens_of, rows), []).append(rate)
        for name in backends:
            seconds, tokens = embedded(name, backends[name], folder, manifest, texts)
            whole.setdefault(name, []).append(len(texts) / seconds)
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return Throughput(
        schema_version=1,
        generated_at=datetime.now(UTC).replace(microsecond=0),
        kind="inference",
        machine=machine(),
        versions=versions(),
        packages=installed(),
        model=manifest.model,
        threads=policy().threads,
        rounds=rounds,
        refused=refused,
        loading=loading,
        rates=[
            Rate(name, tokens_of, rows, rounded(rates), rounded([statistics.median(rates)])[0])
            for (name, tokens_of, rows), rates in found.items()
        ],
        whole_texts=[
            WholeTexts(name, len(texts), tokens, rounded(rates), rounded([statistics.median(rates)])[0])
            for name, rates in whole.items()
        ],
    )


def loaded(name: BackendName, folder: ModelFolder, manifest: Manifest, rounds: int) -> tuple[EmbeddingBackend, Loading]:
    """The backend, loaded so many times, and what that took."""
    seconds: list[float] = []
    backend: EmbeddingBackend | None = None
    before, grown = resident(), None
    for _ in range(rounds):
        if backend is not None:
            backend.close()
            del backend
            gc.collect()
        started = time.perf_counter()
        backend = load_backend(name, folder, manifest, threads=policy().threads)
        seconds.append(round(time.perf_counter() - started, 4))
        now = resident()
        if grown is None and now is not None and before is not None:
            grown = now - before
    assert backend is not None
    return backend, Loading(name, seconds, backend.size_bytes, grown)


def texts_per_second(backend: EmbeddingBackend, manifest: Manifest, tokens: int, rows: int, least_s: float) -> float:
    """How many texts of one length a second, after one batch that does not count."""
    spec = manifest.spec
    random = np.random.default_rng(tokens * 1_000 + rows)
    ids = random.integers(min(FIRST_ID, spec.vocab_size // 2), spec.vocab_size, (rows, tokens), dtype=np.int64)
    mask = np.ones_like(ids)
    backend.embed(ids, mask, timeout_s=600)
    done, started = 0, time.perf_counter()
    while True:
        backend.embed(ids, mask, timeout_s=600)
        done += rows
        seconds = time.perf_counter() - started
        if seconds >= least_s:
            return done / seconds


def mixed_texts(manifest: Manifest) -> list[str]:
    """Texts like prompts: most of them short, a few longer than the model reads; always the same."""
    random = np.random.default_rng(1)
    words = " ".join(golden.text for golden in manifest.golden).split()
    lengths = np.minimum(np.exp(random.normal(3.2, 1.2, TEXTS)).astype(int) + 1, 400)
    return [" ".join(random.choice(words, length)) for length in lengths]


def embedded(
    name: BackendName, backend: EmbeddingBackend, folder: ModelFolder, manifest: Manifest, texts: list[str]
) -> tuple[float, int]:
    """Seconds for all texts through the embedder with this backend alone, and their tokens."""

    class Shared:
        """The loaded backend, which outlives its cache."""

        def __getattr__(self, attribute: str) -> Any:
            return getattr(backend, attribute)

        def close(self) -> None:
            """Leave it open."""

    rules = policy()
    cache = ModelCache(lambda key: Shared(), max_items=1, max_bytes=2**40, idle_ttl_s=3_600)  # type: ignore[return-value]
    chain = Chain(cache, manifest.weights_sha256, manifest.spec, rules, requested=name)
    tokenizer = load_embedding_tokenizer(folder.tokenizer, manifest.spec.max_tokens)
    with Embedder(tokenizer, chain, manifest, rules.batches, requested=name, close=cache.close) as embedder:
        started = time.perf_counter()
        found = embedder.embed(texts)
        seconds = time.perf_counter() - started
    assert {one.actual for one in found.served} == {name}
    return seconds, sum(found.token_counts)


def rounded(rates: list[float]) -> list[float]:
    return [float(f"{rate:.3g}") for rate in rates]


def installed() -> dict[str, str]:
    """Versions of what computes."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def table(found: Throughput) -> str:
    """The figures for a person."""
    lines = [f"{found.machine.cpu_model}, {found.machine.cores} cores, {found.model}, {found.threads} thread"]
    for name, why in found.refused.items():
        lines.append(f"{name}: not here: {why}")
    for one in found.loading:
        grown = "" if one.resident_bytes is None else f", {one.resident_bytes / 1e6:.0f} MB resident"
        seconds = statistics.median(one.seconds)
        lines.append(f"{one.backend}: loaded in {seconds:.2f} s, {one.accounted_bytes / 1e6:.0f} MB accounted{grown}")
    names = [one.backend for one in found.loading]
    median = {(rate.backend, rate.tokens, rate.rows): rate.median for rate in found.rates}
    lines += ["", "texts/s  " + "".join(f"{name:>10}" for name in names)]
    for tokens, rows in ((tokens, rows) for tokens in LENGTHS for rows in BATCHES):
        cells = (median.get((name, tokens, rows)) for name in names)
        lines.append(
            f"T{tokens:<4}B{rows:<3}" + "".join("         -" if one is None else f"{one:10.4g}" for one in cells)
        )
    for whole in found.whole_texts:
        lines.append(
            f"{whole.backend}: {whole.texts} texts of {whole.tokens:,} tokens in all: {whole.median:.4g} texts/s"
        )
    return "\n".join(lines)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="the folder of a built model")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--least-seconds", type=float, default=0.5, help="of one measurement")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    try:
        found = measure(ModelFolder(args.model), args.rounds, args.least_seconds)
    except TokenLedgerError as error:
        sys.exit(f"{error}")
    print(table(found))
    if args.json:
        write_json_atomic(args.json, found)


if __name__ == "__main__":
    main()
