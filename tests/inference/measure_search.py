"""How long search takes over many sessions: a second question in one process, and the command from start to end.

Here: N made-up sessions with logs, usage, prompts and random vectors; questions embedded by the real model; the same
search by DuckDB; the whole command with its memory; a table, and with `--json` the figures beside the machine's facts.
Not here: assertions; this is a tool, not a test. Vectors are random, since what they say changes no time: embedding so
many sessions is what `measure_throughput` measures.

    python tests/inference/measure_search.py MODEL --folder /var/tmp/search
    python tests/inference/measure_search.py MODEL --folder /var/tmp/search --json docs/performance/search.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import msgspec  # noqa: E402
import numpy as np  # noqa: E402

from tokenledger_dagster.bench.machine import machine, versions  # noqa: E402
from tokenledger_dagster.bench.process import run, run_for_memory  # noqa: E402
from tokenledger_dagster.contracts.bench import Machine, Versions  # noqa: E402
from tokenledger_dagster.fileio import write_json_atomic  # noqa: E402
from tokenledger_dagster.home import Home, ensure_home  # noqa: E402
from tokenledger_dagster.inference import vector_files, vector_index  # noqa: E402
from tokenledger_dagster.inference.backend import Served  # noqa: E402
from tokenledger_dagster.inference.embedder import Embeddings, open_embedder  # noqa: E402
from tokenledger_dagster.inference.indexing import index_sessions  # noqa: E402
from tokenledger_dagster.inference.manifest import read_manifest  # noqa: E402
from tokenledger_dagster.inference.model_folder import ModelFolder  # noqa: E402
from tokenledger_dagster.inference.prompts import PromptReport  # noqa: E402
from tokenledger_dagster.inference.search import SearchIndex, best_sessions  # noqa: E402
from tokenledger_dagster.inference.switch import model_folder, standing  # noqa: E402
from tokenledger_dagster.ingest.sync import SyncOptions, sync  # noqa: E402
from tokenledger_dagster.settings import load_settings  # noqa: E402
from tokenledger_dagster.usage.selection import Selection  # noqa: E402

SESSIONS_A_FILE = 100
PARTS = 1.2
"""Vectors a session: what is typed in most of them fits in one."""
QUESTIONS = (
    "flaky test in the parser",
    "slow database query",
    "invoice export to csv",
    "login page on small screens",
    "deploy pipeline fails",
    "rename the cache module",
    "memory leak in the worker",
    "explain the retry logic",
)
MIB = 1 << 20


class Times(msgspec.Struct, frozen=True):
    """Milliseconds of one thing, measured again and again."""

    name: str
    median_ms: float
    p95_ms: float
    count: int


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """`docs/performance/search.json`."""

    schema_version: int
    generated_at: datetime
    kind: str
    machine: Machine
    versions: Versions
    model: str
    sessions: int
    vectors: int
    dims: int
    vector_files: int
    vector_bytes: int
    cache_bytes: int
    first_query_ms: float
    """In a fresh process, once everything is imported: model, matrix and answer."""
    second_query: Times
    """Question to document: embedded, searched, with cost."""
    times: list[Times]
    cli: list[Times]
    """Whole commands."""
    cli_peak_mib: float
    cli_peak_without_sessions_mib: float
    """The same command in a home of one session: what interpreter, runtime and model take."""
    process_peak_mib: float
    """Of the process that asked all questions."""
    store_s: float
    """Writing and merging all vectors."""
    matrix_s: float
    """Reading all of them into a new matrix."""


class RandomVectors:
    """Stands in for the model where only the number of vectors matters."""

    def __init__(self, folder: ModelFolder) -> None:
        manifest = read_manifest(folder)
        self.dims, self.max_tokens = manifest.spec.dims, manifest.spec.max_tokens
        self.coreml_tokens = self.max_tokens
        self._served = Served("onnx", "onnx", "", "fp32", "CPUExecutionProvider", manifest.weights_sha256)
        self._random = np.random.default_rng(7)

    def embed(self, texts: Sequence[str], *, progress: Callable[[int, int], None] | None = None) -> Embeddings:
        """Unit vectors that mean nothing."""
        vectors = self._random.standard_normal((len(texts), self.dims), np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return Embeddings(vectors, [2] * len(texts), [False] * len(texts), [self._served] * len(texts))


def write_logs(person: Path, sessions: int) -> None:
    """Transcripts over 400 days: in each session a person asks twice, and is answered a quarter of an hour apart."""
    folder = person / ".claude" / "projects" / "-home-ada-code-tidepool"
    folder.mkdir(parents=True, exist_ok=True)
    for first in range(0, sessions, SESSIONS_A_FILE):
        rows = [row for number in range(first, min(first + SESSIONS_A_FILE, sessions)) for row in rows_of(number)]
        (folder / f"{first:08d}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def rows_of(number: int) -> Iterator[dict[str, Any]]:
    """One session."""
    start = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(minutes=number * 400 * 1440 / 100_000)
    name = f"00000000-0000-4000-8000-{number:012d}"
    words = "word " * (160 if number % round(1 / (PARTS - 1)) == 0 else 20)
    for turn in range(2):
        at = (start + timedelta(minutes=17 * turn)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        about = {
            "timestamp": at,
            "sessionId": name,
            "cwd": f"/home/ada/code/project-{number % 40}",
            "version": "2.1.38",
        }
        yield {**about, "type": "user", "message": {"role": "user", "content": f"{turn} {number} {words}"}}
        usage = {"input_tokens": 100 + number % 900, "output_tokens": 50, "cache_read_input_tokens": 10_000}
        message = {"id": f"m{number}-{turn}", "role": "assistant", "model": "claude-sonnet-4-5", "usage": usage}
        yield {**about, "type": "assistant", "requestId": f"r{number}-{turn}", "message": message}


def prepared(folder: Path, model: Path, sessions: int) -> tuple[Home, dict[str, str], float]:
    """A home with that many sessions, what finds it, and the seconds that writing its vectors took (0: was there)."""
    person, home = folder / f"person-{sessions}", ensure_home(folder / f"ledger-{sessions}", "test")
    if not person.exists():
        write_logs(person, sessions)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TOKENLEDGER_", "XDG_"))}
    environ = {**kept, "HOME": str(person), "TOKENLEDGER_HOME": str(home.root), "TZ": "UTC", "PYTHONPATH": str(ROOT)}
    environ["TOKENLEDGER_FEATURE_INFERENCE_PROMPTS"] = "true"
    link = model_folder(home).root
    if not link.exists():
        link.parent.mkdir(parents=True)
        link.symlink_to(model.resolve())
    sync(home, environ, SyncOptions(zone="UTC"))
    settings, report = load_settings(environ), PromptReport()
    if vector_files.live_files(vector_files.folder_of(home)):
        return home, environ, 0.0
    started = time.perf_counter()
    vectors = RandomVectors(ModelFolder(model))
    done = index_sessions(home, environ, standing(home, settings), vectors, report=report)
    print(f"{done.embedded:,} sessions given vectors, {report.read_seconds:.1f} s of it reading logs", file=sys.stderr)
    return home, environ, time.perf_counter() - started - report.read_seconds


def times(name: str, work: Callable[[int], object], count: int) -> Times:
    """How long each of some calls takes."""
    found = []
    for number in range(count):
        started = time.perf_counter()
        work(number)
        found.append((time.perf_counter() - started) * 1000)
    return in_order(name, found)


def in_order(name: str, milliseconds: list[float]) -> Times:
    """Median and 95th percentile."""
    found, count = sorted(milliseconds), len(milliseconds)
    return Times(name, round(statistics.median(found), 1), round(found[min(int(count * 0.95), count - 1)], 1), count)


def asked(home: Home, environ: Mapping[str, str], count: int) -> dict[str, Any]:
    """Questions within this process; run it in a fresh one."""
    started = time.perf_counter()
    with open_embedder(home, load_settings(environ)) as embedder:
        index = SearchIndex(home, embedder, embedder.model, "UTC")
        limits = {"limit": 10, "min_score": -1.0}
        first = index.search("what was that about", **limits)
        first_ms = (time.perf_counter() - started) * 1000
        assert len(first.results) == 10
        second = times("second", lambda i: index.search(QUESTIONS[i % len(QUESTIONS)], **limits), count)
        chosen = Selection(projects=("project-7",), since="2025-06-01")
        index.search("x", selection=chosen, **limits)
        filtered = times(
            "second, by project and period", lambda i: index.search(QUESTIONS[i % 8], selection=chosen, **limits), count
        )
        opened, vector = index.opened, embedder.embed(["a question"]).vectors[0]
        scored = times("scores and order alone", lambda _: best_sessions(opened, vector, **limits), count)
        embedded = times("embedding the question alone", lambda i: embedder.embed([QUESTIONS[i % 8]]), count)
        served = first.model
        kept = times("opening the kept matrix", lambda _: vector_index.open_index(home, served.sha256, "fp32"), count)
    # of this process since it began; what `getrusage` says may be of the larger one that started it
    status = Path("/proc/self/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    return msgspec.to_builtins(
        {"first_ms": first_ms, "second": second, "times": [filtered, scored, embedded, kept], "peak": peak}
    )


def by_duckdb(home: Home, dims: int, count: int) -> list[Times]:
    """The same by `array_cosine_similarity`: over the Parquet files, and over a table of arrays in memory."""
    import duckdb

    latest = f"""
        SELECT client, session_id, vector::FLOAT[{dims}] AS vector
        FROM read_parquet('{vector_files.folder_of(home)}/*.parquet')
        QUALIFY batch = max(batch) OVER (PARTITION BY client, session_id) AND part > 0
    """
    best = f"""
        SELECT client, session_id, max(array_cosine_similarity(vector, ?::FLOAT[{dims}])) AS score
        FROM %s GROUP BY ALL ORDER BY score DESC, client, session_id LIMIT 10
    """
    vector = np.random.default_rng(3).standard_normal(dims).tolist()
    with duckdb.connect() as con:
        files = times(
            "DuckDB over the Parquet files", lambda _: con.execute(best % f"({latest})", [vector]).fetchall(), 5
        )
        con.execute(f"CREATE TABLE vectors AS {latest}")
        table = times(
            "DuckDB over a table in memory", lambda _: con.execute(best % "vectors", [vector]).fetchall(), count
        )
    return [table, files]


def arguments(*options: str) -> list[str]:
    """The command, so that it finds something however little random vectors are alike."""
    return ["search", *QUESTIONS[0].split(), *options, "--min-score", "-1"]


def whole_command(environ: Mapping[str, str], folder: Path, count: int, *options: str) -> Times:
    """How long the command takes, as a process of its own."""
    found = [run(arguments(*options), environ, folder).round.wall_s * 1000 for _ in range(count)]
    return in_order(" ".join(("search TEXT", *options)), found)


def measure(folder: Path, model: Path, sessions: int, count: int) -> Found:
    """All figures."""
    home, environ, store_s = prepared(folder, model, sessions)
    _, small, _ = prepared(folder, model, 1)
    run(arguments(), small, folder)
    manifest = read_manifest(ModelFolder(model))
    for path in vector_index.cache_folder(home).glob("*"):
        path.unlink()
    started = time.perf_counter()
    index = vector_index.open_index(home, manifest.weights_sha256, "fp32")
    matrix_s = time.perf_counter() - started
    files = vector_files.live_files(vector_files.folder_of(home))
    line = [sys.executable, __file__, str(model), "--ask", str(home.root), "--count", str(count)]
    inside = json.loads(subprocess.run(line, env=environ, stdout=subprocess.PIPE, check=True).stdout)
    runs = max(count // 4, 3)
    cli = [whole_command(environ, folder, runs), whole_command(environ, folder, runs, "--no-sync", "--no-index")]
    peaks = [run_for_memory(arguments(), one, folder)[1].peak_bytes / MIB for one in (environ, small)]
    return Found(
        schema_version=1,
        generated_at=datetime.now(UTC).replace(microsecond=0),
        kind="search",
        machine=machine(),
        versions=versions(),
        model=manifest.model,
        sessions=len(index.keys.starts),
        vectors=index.keys.rows,
        dims=index.keys.dims,
        vector_files=len(files),
        vector_bytes=sum(one.bytes for one in files),
        cache_bytes=sum(path.stat().st_size for path in vector_index.cache_folder(home).iterdir()),
        first_query_ms=round(inside["first_ms"], 1),
        second_query=msgspec.convert(inside["second"], Times),
        times=[*msgspec.convert(inside["times"], list[Times]), *by_duckdb(home, index.keys.dims, count)],
        cli=cli,
        cli_peak_mib=round(peaks[0], 1),
        cli_peak_without_sessions_mib=round(peaks[1], 1),
        process_peak_mib=round(inside["peak"], 1),
        store_s=round(store_s, 1),
        matrix_s=round(matrix_s, 2),
    )


def table(found: Found) -> str:
    """The figures for a person."""
    lines = [
        f"{found.machine.cpu_model}, {found.machine.cores} cores: {found.sessions:,} sessions, {found.vectors:,} "
        f"vectors of {found.dims} in {found.vector_files} files of {found.vector_bytes / MIB:,.0f} MiB",
        f"{'first question in a process':<42} {found.first_query_ms:10.1f} ms",
    ]
    for one in (msgspec.structs.replace(found.second_query, name="second question"), *found.times, *found.cli):
        lines.append(f"{one.name:<42} {one.median_ms:10.1f} ms   p95 {one.p95_ms:8.1f} ms")
    lines.append(
        f"peak: command {found.cli_peak_mib:,.0f} MiB ({found.cli_peak_without_sessions_mib:,.0f} with one session), "
        f"process of all questions {found.process_peak_mib:,.0f} MiB"
    )
    lines.append(f"vectors written in {found.store_s:.1f} s, read into a new matrix in {found.matrix_s:.2f} s")
    return "\n".join(lines)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="the folder of a built model")
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="logs and ledger stay there")
    parser.add_argument("--count", type=int, default=40, help="questions")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--ask", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.ask:
        print(json.dumps(asked(Home(args.ask), os.environ, args.count)))
        return
    found = measure(args.folder, args.model, args.sessions, args.count)
    print(table(found))
    if args.json:
        write_json_atomic(args.json, found)


if __name__ == "__main__":
    main()
