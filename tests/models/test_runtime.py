"""How requests through a proxy went: percentiles of what was answered, each request once, wherever it is told."""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.landing.rows import detail, export, queued
from tests.support import World, jsonl
from tokenledger_dagster.contracts.ledger import RUNTIME_METRICS, RuntimeMetric
from tokenledger_dagster.errors import NothingToReport
from tokenledger_dagster.exports.model_ledger import RuntimeOptions, Written, write_runtime
from tokenledger_dagster.exports.tables import build
from tokenledger_dagster.landing.cliproxyapi import landed_line
from tokenledger_dagster.landing.redaction import redacted
from tokenledger_dagster.models.artifacts import RUNTIME_CSV
from tokenledger_dagster.models.runtime import (
    Outcome,
    Snapshot,
    SnapshotError,
    metrics_of,
    percentile,
    read_snapshot,
)
from tokenledger_dagster.models.table_files import csv_text


def answered(key: str, latency: int | None, first: int | None = None, *, failed: bool = False) -> Outcome:
    return Outcome(key, "codex", "gpt-5.4", latency, first, failed)


def read(folder: Path, *rows: Any, name: str = "queue.jsonl") -> Snapshot:
    path = folder / name
    path.write_bytes(jsonl(*rows))
    return read_snapshot([path])


def requests(found: Snapshot) -> list[tuple[str, str, int]]:
    return [(one.provider, one.model, one.requests) for one in found.metrics]


# ------------------------------------------------------------------ percentiles


@pytest.mark.parametrize(
    ("values", "half", "most"),
    [([], None, None), ([7], 7, 7), ([1, 2], 1, 2), ([1, 2, 3], 2, 3), (list(range(1, 101)), 50, 95), ([5] * 9, 5, 5)],
)
def test_a_percentile_is_a_value_that_was_measured(values: list[int], half: int | None, most: int | None) -> None:
    assert (percentile(values, 50), percentile(values, 95)) == (half, most)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=60).map(sorted), st.integers(1, 100))
def test_a_percentile_is_the_least_value_that_so_many_keep_to(values: list[int], percent: int) -> None:
    found = percentile(values, percent)
    assert found in values
    assert 100 * sum(value <= found for value in values) >= percent * len(values)
    assert 100 * sum(value < found for value in values) < percent * len(values)


# ------------------------------------------------------------------ metrics of requests


def test_latency_is_that_of_answered_requests_and_failures_are_counted() -> None:
    outcomes = [answered(f"r{number}", 100 * number, 10 * number) for number in range(1, 21)]
    outcomes += [answered("slow failure", 90_000, failed=True), answered("quick failure", 1, 1, failed=True)]
    assert metrics_of(outcomes, "a file") == [
        RuntimeMetric(
            provider="codex",
            model="gpt-5.4",
            requests=22,
            failures=2,
            latency_p50_ms=1_000,
            latency_p95_ms=1_900,
            ttft_p50_ms=100,
            quality_score=None,
            source_path="a file",
            latency_samples=20,
            ttft_samples=20,
        )
    ]


def test_what_was_not_measured_is_no_zero() -> None:
    (found,) = metrics_of([answered("a", None), answered("b", 300), answered("c", None, 40)], "a file")
    assert (found.requests, found.latency_p50_ms, found.latency_samples) == (3, 300, 1)
    assert (found.ttft_p50_ms, found.ttft_samples) == (40, 1)


def test_where_everything_failed_there_is_no_latency() -> None:
    (found,) = metrics_of([answered("a", 300, failed=True)], "a file")
    assert (found.requests, found.failures, found.latency_p50_ms, found.latency_p95_ms) == (1, 1, None, None)


def test_one_row_stands_for_each_provider_and_model_in_their_order() -> None:
    outcomes = [
        Outcome("a", "openrouter", "gpt-5.4", 1, None, False),
        Outcome("b", "codex", "gpt-5.4", 1, None, False),
        Outcome("c", "codex", "gpt-5", 1, None, False),
        Outcome("d", "codex", "gpt-5.4", 1, None, False),
    ]
    assert [(one.provider, one.model, one.requests) for one in metrics_of(outcomes, "")] == [
        ("codex", "gpt-5", 1),
        ("codex", "gpt-5.4", 2),
        ("openrouter", "gpt-5.4", 1),
    ]


# ------------------------------------------------------------------ files of the proxy


def test_a_queue_record_is_one_request_under_the_names_of_the_ledger(tmp_path: Path) -> None:
    found = read(tmp_path, queued("r1", model="openai/gpt-5.3-codex-high"))
    assert (found.records, found.skipped) == (1, Counter())
    (one,) = found.metrics
    assert (one.provider, one.model, one.requests, one.failures) == ("codex", "gpt-5.3-codex", 1, 0)
    assert (one.latency_p50_ms, one.latency_p95_ms, one.ttft_p50_ms) == (1_500, 1_500, 210)
    assert one.source_path == str(tmp_path / "queue.jsonl")


@pytest.mark.parametrize(
    ("provider", "key"), [("claude", "claude"), ("gemini-cli", "google"), ("OpenAI", "codex"), (None, "proxyapi")]
)
def test_the_provider_is_the_one_that_served_it(tmp_path: Path, provider: str | None, key: str) -> None:
    assert requests(read(tmp_path, queued("r1", provider=provider))) == [(key, "gpt-5.3-codex", 1)]


def test_a_failure_without_tokens_is_a_request(tmp_path: Path) -> None:
    (one,) = read(tmp_path, queued("r1"), queued("r2", failed=True, tokens={}, token_breakdown=None)).metrics
    assert (one.requests, one.failures, one.latency_samples) == (2, 1, 1)


@pytest.mark.parametrize(
    ("latency", "expected"), [(0, None), (None, None), (-5, None), ("80", 80), (1.5, None), (10**13, None), ([1], None)]
)
def test_a_latency_that_is_no_measure_counts_as_none(tmp_path: Path, latency: Any, expected: int | None) -> None:
    (one,) = read(tmp_path, queued("r1", latency_ms=latency)).metrics
    assert (one.requests, one.latency_p50_ms, one.latency_samples) == (1, expected, 0 if expected is None else 1)


def test_a_request_that_is_told_again_counts_once(tmp_path: Path) -> None:
    again = tmp_path / "again.jsonl"
    again.write_bytes(jsonl(queued("r2", 2), queued("r3", 3)))
    first = tmp_path / "first.jsonl"
    first.write_bytes(jsonl(queued("r1", 1), queued("r2", 2), queued("r1", 1)))
    both, turned = read_snapshot([first, again]), read_snapshot([again, first])
    assert both.records == turned.records == 3
    assert both.metrics == turned.metrics
    assert both.metrics[0].source_path == str(tmp_path)


def test_an_id_that_comes_again_at_another_time_or_for_another_model_is_another_request(tmp_path: Path) -> None:
    found = read(tmp_path, queued("r1", 1), queued("r1", 2), queued("r1", 1, model="gpt-5.4"))
    assert found.records == 3


def test_requests_without_ids_are_told_apart_by_what_they_say(tmp_path: Path) -> None:
    found = read(tmp_path, queued(None, 1), queued(None, 1), queued(None, 1, failed=True), queued(None, 2))
    assert found.records == 3


def test_all_layouts_of_the_proxy_are_read(tmp_path: Path) -> None:
    exported = export({"gpt-5.4": [detail(1), detail(2)], "claude-opus-4-5": [detail(3, failed=True)]})
    assert requests(read(tmp_path, exported, name="usage-export.json")) == [
        ("proxyapi", "claude-opus-4-5", 1),
        ("proxyapi", "gpt-5.4", 2),
    ]
    answer = [queued("r1"), queued("r2", 1), {"refresh": True}]
    assert requests(read(tmp_path, answer, name="answer.json")) == [("codex", "gpt-5.3-codex", 2)]
    landed = landed_line("usage", redacted(queued("r1"))) + landed_line("unknown", {"left": 3})
    path = tmp_path / "2026-02-18.jsonl"
    path.write_bytes(landed)
    found = read_snapshot([path])
    assert (requests(found), found.skipped) == ([("codex", "gpt-5.3-codex", 1)], {"unknown_record": 1})


def test_a_packed_file_is_read_as_a_plain_one(tmp_path: Path) -> None:
    path = tmp_path / "queue.jsonl.gz"
    path.write_bytes(gzip.compress(jsonl(queued("r1"), queued("r2", 1))))
    assert read_snapshot([path]).records == 2


@pytest.mark.parametrize("change", ["bom", "crlf", "nul", "no last line end"])
def test_the_same_file_by_another_writer_is_the_same(tmp_path: Path, change: str) -> None:
    plain = jsonl(queued("r1"), queued("r2", 1))
    path = tmp_path / "queue.jsonl"
    path.write_bytes(plain)
    expected = read_snapshot([path])
    path.write_bytes(
        {
            "bom": b"\xef\xbb\xbf" + plain,
            "crlf": plain.replace(b"\n", b"\r\n"),
            "nul": plain + b"\x00" * 64 + b"\n",
            "no last line end": plain.rstrip(),
        }[change]
    )
    assert read_snapshot([path]) == expected


def test_what_is_no_request_is_counted_by_its_reason(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        *("{", b"\xff\xfe", "", "[" * 5_000, "7", '"text"', "[1, 2]"),
        *({"quota": 7}, {"refresh": True}, {"support_refresh": False}, queued("r1")),
    )
    assert found.skipped == {"invalid_json": 3, "not_an_object": 4, "unknown_record": 1, "control_message": 2}
    assert found.records == 1


@pytest.mark.parametrize("name", ["queue.jsonl", "export.json", "notes.txt"])
@pytest.mark.parametrize("content", [b"", b"\x00\x00", b"\xef\xbb\xbf", b"no json at all\n", b"{}", b"[]", b"null"])
def test_a_file_with_nothing_of_the_proxy_has_no_metrics(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    found = read_snapshot([path])
    assert (found.metrics, found.records) == ([], 0)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_bytes(content)
    told = None
    try:
        read_snapshot([path])
    except SnapshotError as error:
        told = str(error)
    assert told is None or str(path) in told


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match=r"absent\.jsonl: No such file or directory; name an export"):
        read_snapshot([tmp_path / "absent.jsonl"])
    with pytest.raises(SnapshotError, match=r"Is a directory; name an export"):
        read_snapshot([tmp_path])
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(jsonl(queued("r1")) * 50)[:-20])
    with pytest.raises(SnapshotError, match=r"cut\.jsonl\.gz: .*; name an export"):
        read_snapshot([cut])


# ------------------------------------------------------------------ a table of metrics


def table(folder: Path, text: str | bytes) -> list[RuntimeMetric]:
    path = folder / "metrics.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_snapshot([path]).metrics


def test_a_table_of_metrics_is_taken_as_it_stands_there(tmp_path: Path) -> None:
    found = table(
        tmp_path,
        "provider,model,requests,failures,latency_p50_ms,latency_p95_ms,ttft_p50_ms,quality_score,source_path\n"
        "openai,openai/gpt-5.4,120,3,1500,4000,300,72.5,/var/log/proxy\n"
        "claude,claude-opus-4-5,10,,,,,,\n",
    )
    opus, gpt = found
    assert (gpt.provider, gpt.model, gpt.requests, gpt.failures) == ("codex", "gpt-5.4", 120, 3)
    assert (gpt.latency_p50_ms, gpt.latency_p95_ms, gpt.ttft_p50_ms) == (1_500, 4_000, 300)
    assert (gpt.quality_score, gpt.source_path, gpt.latency_samples) == (Decimal("72.5"), "/var/log/proxy", 120)
    assert (opus.failures, opus.latency_p50_ms, opus.quality_score, opus.latency_samples) == (0, None, None, 0)
    assert opus.source_path == str(tmp_path / "metrics.csv")


def test_a_table_of_few_columns_is_enough(tmp_path: Path) -> None:
    (found,) = table(tmp_path, b"\xef\xbb\xbfmodel,provider,latency_ms,colour\r\ngpt-5.4,codex,900,blue\r\n")
    assert (found.latency_p50_ms, found.requests, found.latency_samples) == (900, 0, 0)


def test_whole_numbers_and_percentages_are_taken_however_they_are_written(tmp_path: Path) -> None:
    text = "provider,model,requests,latency_ms,quality_score\ncodex,gpt-5.4,2e1,900.0,66.6666666666666667\n"
    (found,) = table(tmp_path, text)
    assert (found.requests, found.latency_p50_ms, found.quality_score) == (20, 900, Decimal("66.666666667"))
    assert [one.quality_score for one in table(tmp_path, text.replace("66.6666666666666667", "100"))] == [100]


def test_no_more_requests_fail_than_there_are(tmp_path: Path) -> None:
    assert table(tmp_path, "provider,model,requests,failures\ncodex,gpt-5.4,5,9\n")[0].failures == 5


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "has no column model, provider"),
        (b"provider,requests\ncodex,1\n", "has no column model"),
        (b"\x00\x00\n", "has no column model, provider"),
        (b"provider,model\ncodex,gpt\xff\n", "is no CSV file"),
        (b"provider,model\ncodex," + b"x" * 200_000 + b"\n", "is no CSV file"),
        (b"provider,model\ncodex,\n", "line 2: needs provider and model; fill them in or remove the row"),
        (b"provider,model\n,gpt-5.4\n", "line 2: needs provider and model; fill them in or remove the row"),
        (b"provider,model,requests\ncodex,gpt-5.4,many\n", "line 2: requests: 'many' is no number; leave it empty"),
        (
            b"provider,model,requests\ncodex,gpt-5,1\ncodex,gpt-5.4,-1\n",
            "line 3: requests: '-1' cannot be meant; write",
        ),
        (b"provider,model,latency_p50_ms\ncodex,gpt-5.4,1e99\n", "latency_p50_ms: '1e99' cannot be meant; write 0 to"),
        (b"provider,model,requests\ncodex,gpt-5.4,1e999999999\n", "requests: '1e999999999' cannot be meant"),
        (b"provider,model,requests\ncodex,gpt-5.4,1.9\n", "line 2: requests: '1.9' is no whole number; round it"),
        (b"provider,model,ttft_p50_ms\ncodex,gpt-5.4,1e-999999999\n", "ttft_p50_ms: '1E-999999999' is no whole number"),
        (b"provider,model,quality_score\ncodex,gpt-5.4,NaN\n", "quality_score: 'NaN' cannot be meant; write 0 to 100"),
        (
            b"provider,model,quality_score\ncodex,gpt-5.4,100.1\n",
            "quality_score: '100.1' cannot be meant; write 0 to 100",
        ),
        (b"provider,model,quality_score\ncodex,gpt-5.4,10000000000\n", "line 2: quality_score: '10000000000' cannot"),
        (b"provider,model\ncodex,gpt-5.4\nopenai,openai/gpt-5.4\n", "codex gpt-5.4 stands there 2 times"),
    ],
)
def test_a_table_that_cannot_be_used_is_named_with_its_place(tmp_path: Path, content: bytes, problem: str) -> None:
    with pytest.raises(SnapshotError) as caught:
        table(tmp_path, content)
    assert str(caught.value).startswith(f"{tmp_path / 'metrics.csv'}: ")
    assert problem in str(caught.value)


def test_a_table_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match=r"absent\.csv: No such file or directory; name a snapshot"):
        read_snapshot([tmp_path / "absent.csv"])


_OUTCOMES = st.builds(
    Outcome,
    st.uuids().map(str),
    st.sampled_from(["codex", "claude", "google", "openrouter", "proxyapi"]),
    st.sampled_from(["gpt-5.4", "claude-opus-4-5", "gemini-2.5-pro", "house-model-7", 'Acme, "9"', "unknown"]),
    st.none() | st.integers(1, 600_000),
    st.none() | st.integers(1, 60_000),
    st.booleans(),
)


@settings(max_examples=30)
@given(st.lists(_OUTCOMES, max_size=20))
def test_metrics_that_are_written_and_read_again_are_the_same(
    tmp_path_factory: pytest.TempPathFactory, outcomes: list[Outcome]
) -> None:
    metrics = metrics_of(outcomes, "/var/log/proxy")
    path = tmp_path_factory.getbasetemp() / "metrics.csv"
    path.write_text(csv_text(RUNTIME_METRICS, metrics), encoding="utf-8")
    assert read_snapshot([path]).metrics == metrics


# ------------------------------------------------------------------ where a ledger looks


class Proxied:
    """A home whose logs are a proxy's, and the step that measures them."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder, TOKENLEDGER_HOME=str(folder / "ledger"))
        self.log = self.world.home_dir / "proxy" / "queue.jsonl"
        self.con = duckdb.connect()

    def add(self, *rows: Any) -> None:
        self.world.write(self.log, *rows)
        self.world.sources = (("cliproxyapi", str(self.log)),)
        self.sync()

    def sync(self) -> None:
        self.world.sync()
        build("events", self.con, self.world.ledger, "UTC")

    def measure(self, **options: Any) -> Written:
        return write_runtime(self.world.ledger, self.world.environ, self.con, RuntimeOptions(**options))

    @property
    def metrics(self) -> list[tuple[str, str, int, int]]:
        found = read_snapshot([self.world.ledger.ledger / RUNTIME_CSV]).metrics
        return [(one.provider, one.model, one.requests, one.failures) for one in found]


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[Proxied]:
    found = Proxied(tmp_path)
    yield found
    found.con.close()


FAILED = {"failed": True, "tokens": {}, "token_breakdown": None}


def test_logs_of_the_proxy_are_found_failures_without_tokens_too(proxied: Proxied) -> None:
    proxied.add(queued("r1", 1), queued("r1", 1), queued("r2", 2, **FAILED))
    found = proxied.measure(allow_missing=False)
    assert found.counts == {"rows": 1, "records": 2, "failures": 1, "skipped": 0}
    assert proxied.metrics == [("codex", "gpt-5.3-codex", 2, 1)]


def test_landed_lines_are_found(proxied: Proxied) -> None:
    folder = proxied.world.ledger.landing / "cliproxyapi"
    folder.mkdir(parents=True)
    (folder / "2026-02-18.jsonl").write_bytes(landed_line("usage", redacted(queued("r1"))))
    proxied.sync()
    assert proxied.measure().counts["records"] == 1


def test_requests_whose_log_is_gone_are_known_from_the_ledger(proxied: Proxied) -> None:
    proxied.add(queued("r1", 1), queued("r2", 2))
    proxied.log.unlink()
    assert proxied.measure(allow_missing=False).counts["records"] == 2
    assert proxied.metrics == [("codex", "gpt-5.3-codex", 2, 0)]


def test_a_log_that_was_moved_is_not_counted_twice(proxied: Proxied) -> None:
    proxied.add(queued("r1", 1), queued("r2", 2))
    proxied.log = proxied.log.rename(proxied.log.with_name("queue.1.jsonl"))
    proxied.add(queued("r1", 1), queued("r2", 2), queued("r3", 3))
    assert proxied.measure().counts["records"] == 3


def test_a_request_is_one_in_its_file_and_in_the_ledger_whatever_it_lacks(proxied: Proxied) -> None:
    lacking: list[dict[str, Any]] = [
        {"model": "unknown"},
        {"request_id": "r2", "model": None},
        {"request_id": "r3", "timestamp": None},
        {"request_id": "r4", "timestamp": "soon"},
        {"request_id": "r5", "timestamp": None, "model": "unknown"},
        {"request_id": None},
        {"request_id": None, "timestamp": None, "model": "unknown"},
    ]
    proxied.add(*({k: v for k, v in {**queued("r1", 1), **one}.items() if v is not None} for one in lacking))
    assert proxied.measure().counts["records"] == 7
    # the same from the ledger alone, and once more from a copy of the file under another name
    content = proxied.log.read_bytes()
    proxied.log.unlink()
    assert proxied.measure().counts["records"] == 7
    proxied.log.with_name("copy.jsonl").write_bytes(content)
    proxied.world.sources = (("cliproxyapi", str(proxied.log.parent)),)
    proxied.sync()
    assert proxied.measure().counts["records"] == 7


@pytest.mark.parametrize("gone", [1, 2])
def test_exports_that_overlap_count_each_request_once_when_one_is_gone(proxied: Proxied, gone: int) -> None:
    exports = {number: proxied.log.with_name(f"export-{number}.json") for number in (1, 2)}
    proxied.log.parent.mkdir()
    proxied.world.sources = (("cliproxyapi", str(proxied.log.parent)),)
    for number, path in exports.items():
        path.write_text(json.dumps(export({"gpt-5.4": [detail(second) for second in range(number + 1)]})))
        proxied.sync()
    exports[gone].unlink()
    assert proxied.measure().counts["records"] == 3
    assert proxied.metrics == [("proxyapi", "gpt-5.4", 3, 0)]


def test_a_file_whose_name_is_no_text_is_read(proxied: Proxied) -> None:
    path = Path(os.fsdecode(os.fsencode(proxied.world.home_dir) + b"/queue-\xff.jsonl"))
    path.write_bytes(jsonl(queued("r1", 1)))
    assert proxied.measure(snapshot=path).counts["records"] == 1
    (found,) = read_snapshot([proxied.world.ledger.ledger / RUNTIME_CSV]).metrics
    assert found.source_path == f"{proxied.world.home_dir}/queue-?.jsonl"


def test_a_named_file_counts_alone(proxied: Proxied, tmp_path: Path) -> None:
    proxied.add(queued("r1", 1))
    other = tmp_path / "other.json"
    other.write_text(json.dumps(export({"gpt-5.4": [detail(1), detail(2), detail(3)]})))
    proxied.measure(snapshot=other)
    assert proxied.metrics == [("proxyapi", "gpt-5.4", 3, 0)]
    assert str(other) in (proxied.world.ledger.ledger / RUNTIME_CSV).read_text()


def test_a_named_table_counts_its_own_requests(proxied: Proxied, tmp_path: Path) -> None:
    other = tmp_path / "metrics.csv"
    other.write_text("provider,model,requests,failures\ncodex,gpt-5.4,70,3\n")
    assert proxied.measure(snapshot=other).counts == {"rows": 1, "records": 70, "failures": 3, "skipped": 0}


def test_a_named_file_that_cannot_be_used_changes_nothing(proxied: Proxied, tmp_path: Path) -> None:
    proxied.add(queued("r1", 1))
    proxied.measure()
    before = proxied.metrics
    with pytest.raises(SnapshotError, match=r"absent\.json"):
        proxied.measure(snapshot=tmp_path / "absent.json", allow_missing=True)
    assert proxied.metrics == before


@pytest.mark.parametrize(
    ("name", "content"),
    [("empty.jsonl", ""), ("notes.jsonl", '{"quota": 7}\n'), ("metrics.csv", "provider,model,requests\n")],
)
def test_a_named_file_that_holds_nothing_of_the_proxy_is_named(
    proxied: Proxied, tmp_path: Path, name: str, content: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(SnapshotError) as caught:
        proxied.measure(snapshot=path, allow_missing=False)
    told = str(caught.value)
    assert told.startswith(f"{path}: holds no requests of CLIProxyAPI; name an export")
    assert "--cliproxyapi-snapshot" not in told
    assert proxied.measure(snapshot=path, allow_missing=True).counts["records"] == 0


def test_no_records_are_refused_unless_allowed(proxied: Proxied) -> None:
    with pytest.raises(NothingToReport) as caught:
        proxied.measure(allow_missing=False)
    told = str(caught.value)
    assert str(proxied.world.ledger.root) in told
    assert all(one in told for one in ("proxy land", "--cliproxyapi-snapshot", "--allow-missing-snapshot"))
    assert not (proxied.world.ledger.ledger / RUNTIME_CSV).exists()

    assert proxied.measure(allow_missing=True).counts == {"rows": 0, "records": 0, "failures": 0, "skipped": 0}
    assert proxied.metrics == []


def test_without_discovery_nothing_is_looked_for(proxied: Proxied) -> None:
    proxied.add(queued("r1", 1))
    assert proxied.measure(discover=False).counts["records"] == 0
    with pytest.raises(NothingToReport):
        proxied.measure(discover=False, allow_missing=False)


def test_lines_that_are_no_requests_are_counted(proxied: Proxied) -> None:
    proxied.add(queued("r1", 1), "{", {"quota": 7}, {"refresh": True})
    assert proxied.measure().counts == {"rows": 1, "records": 1, "failures": 0, "skipped": 3}


def test_what_did_not_change_is_not_measured_again(proxied: Proxied) -> None:
    proxied.add(queued("r1", 1))
    assert proxied.measure().is_new
    again = proxied.measure()
    assert (again.is_new, again.counts["records"]) == (False, 1)

    proxied.add(queued("r1", 1), queued("r2", 2))
    assert proxied.measure().counts["records"] == 2
    (proxied.world.ledger.ledger / RUNTIME_CSV).unlink()
    assert proxied.measure().is_new


def test_that_there_is_nothing_is_not_found_out_again(proxied: Proxied) -> None:
    assert [proxied.measure().is_new for _ in range(2)] == [True, False]
    proxied.add(queued("r1", 1))
    assert proxied.measure().counts["records"] == 1
