"""Which sessions are found, in which order, and what they cost."""

from __future__ import annotations

import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.docs.generated import ROOT, blocks
from tests.inference.words import SHA, Words, index_sessions, session
from tests.support import World, claude, meta, tokens, turn
from tests.support import rollout as rollout_name
from tokenledger_dagster.contracts.search import SearchDocument
from tokenledger_dagster.exports.tables import build, table_path
from tokenledger_dagster.home import ensure_home
from tokenledger_dagster.inference.search import Hit, SearchIndex, best_sessions
from tokenledger_dagster.inference.vector_files import folder_of
from tokenledger_dagster.inference.vector_index import Keys, VectorIndex, open_index
from tokenledger_dagster.inference.vector_store import COLUMNS
from tokenledger_dagster.ingest.manifest import connect
from tokenledger_dagster.usage.effective import effective
from tokenledger_dagster.usage.report import make_report
from tokenledger_dagster.usage.selection import Selection

# ------------------------------------------------------------------ scores


def index(*sessions: tuple[str, list[list[float]]]) -> VectorIndex:
    """An index of sessions with these rows, each scaled to length 1."""
    rows = np.array([row for _, given in sessions for row in given], np.float32)
    starts = np.cumsum([0, *(len(given) for _, given in sessions)])[:-1].tolist()
    keys = Keys(
        model_sha256="",
        precision="fp32",
        dims=2,
        rows=len(rows),
        clients=["c"] * len(sessions),
        session_ids=[name for name, _ in sessions],
        digests=[""] * len(sessions),
        started_us=[None] * len(sessions),
        starts=starts,
        left_out=[],
    )
    return VectorIndex(keys, rows / np.linalg.norm(rows, axis=1, keepdims=True) if len(rows) else rows, "")


NORTH = np.array([0, 1], np.float32)


def found(where: VectorIndex, limit: int = 10, min_score: float = -1.0, **options: Any) -> list[Hit]:
    return best_sessions(where, NORTH, limit=limit, min_score=min_score, **options)


def test_a_session_is_as_alike_as_its_best_part() -> None:
    where = index(("a", [[1, 0], [3, 4]]), ("b", [[1, 0]]), ("c", [[0, -1], [4, 3], [1, 0]]))
    assert found(where) == [Hit(0, 0.8, 0.2, 2), Hit(2, 0.6, 0.6, 2), Hit(1, 0.0, None, 1)]


def test_the_margin_is_to_the_next_session_shown_or_not() -> None:
    where = index(("a", [[3, 4]]), ("b", [[4, 3]]), ("c", [[1, 0]]))
    assert found(where, limit=1) == [Hit(0, 0.8, 0.2, 1)]
    assert found(where, min_score=0.7) == [Hit(0, 0.8, 0.2, 1)]
    assert found(where, min_score=0.9) == []


def test_equal_scores_are_in_the_order_of_their_names() -> None:
    where = index(*((name, [[1, 1]]) for name in "dbeac"))
    assert [where.keys.session_ids[hit.place] for hit in found(where, limit=3)] == ["a", "b", "c"]


def test_only_allowed_sessions_are_found_and_compared() -> None:
    where = index(("a", [[3, 4]]), ("b", [[4, 3]]), ("c", [[1, 0]]))
    assert found(where, allowed=np.array([True, False, True])) == [Hit(0, 0.8, 0.8, 1), Hit(2, 0.0, None, 1)]
    assert found(where, allowed=np.array([False] * 3)) == []


def test_nothing_is_found_where_nothing_is_embedded() -> None:
    assert found(index()) == []


@given(
    st.lists(st.lists(st.tuples(st.integers(-3, 3), st.integers(1, 3)), min_size=1, max_size=3), max_size=12),
    st.integers(1, 14),
)
def test_it_is_what_looking_at_all_of_them_finds(parts: list[list[tuple[int, int]]], limit: int) -> None:
    where = index(*((f"{i % 5}-{i}", [list(map(float, row)) for row in rows]) for i, rows in enumerate(parts)))
    scores = [round(max(y / (x * x + y * y) ** 0.5 for x, y in rows), 6) for rows in parts]
    expected = sorted(range(len(parts)), key=lambda one: (-scores[one], where.keys.session_ids[one]))[:limit]
    hits = found(where, limit=limit)
    assert [hit.place for hit in hits] == expected
    assert [hit.score for hit in hits] == pytest.approx([scores[one] for one in expected], abs=2e-6)


def test_scores_are_duckdbs(tmp_path: Path) -> None:
    home = ensure_home(tmp_path, "test")
    index_sessions(home, [session(f"s{i}", f"{word} test and more") for i, word in enumerate(Words.VOCABULARY)])
    query = Words().vector("flaky parser test")
    where = open_index(home, SHA, "fp32")
    hits = best_sessions(where, query, limit=9, min_score=-1)
    with duckdb.connect() as con:
        scores = con.execute(
            f"SELECT session_id, array_cosine_similarity(vector::FLOAT[8], ?::FLOAT[8]) "
            f"FROM '{folder_of(home)}/*.parquet' ORDER BY 2 DESC, 1",
            [query.tolist()],
        ).fetchall()
    assert {where.keys.session_ids[hit.place]: hit.score for hit in hits} == pytest.approx(dict(scores), abs=1e-6)


class Wide(Words):
    """Vectors as long as the real model's."""

    dims = 384

    def vector(self, text: str) -> np.ndarray:
        return np.pad(super().vector(text), (0, 384 - Words.dims))


def test_the_cookbook_finds_sessions_like_another_one(world: World) -> None:
    (query,) = blocks(ROOT / "docs" / "sql-cookbook.md", "sql vectors")
    wide, sessions = Wide(), [session("s1", "flaky parser test"), session("s2", "flaky docs"), session("s3", "css")]
    shutil.rmtree(folder_of(world.ledger))
    index_sessions(world.ledger, [session("s3", "docs"), session("t1", "parser test", client="codex")], wide)
    index_sessions(world.ledger, [*sessions, session("s9")], wide)
    text = query.replace("TOKENLEDGER_HOME", str(world.ledger.root)).replace("SESSION", "s1")
    with duckdb.connect() as con:
        build("usage_sessions", con, world.ledger, "UTC")
        con.execute(f"CREATE VIEW usage_sessions AS FROM '{table_path(world.ledger, 'usage_sessions')}'")
        rows = con.execute(text).fetchall()
        names = [column[0] for column in con.description or []]
    assert names == ["session_id", "client", "score", "project", "total_tokens", "list_price_usd"]
    kelp, tidepool = "/home/ada/code/kelp", "/home/ada/code/tidepool"
    assert [(*row[:5], None if row[5] is None else f"{row[5]:f}") for row in rows] == [
        ("t1", "codex", pytest.approx(0.816), kelp, 1050, "0.002350000"),
        ("s2", "claude-code", pytest.approx(0.408), tidepool, 33, "0.000000000"),
        ("s3", "claude-code", pytest.approx(0.0), None, None, None),
    ]


def test_the_columns_of_a_file_are_documented() -> None:
    page = (ROOT / "docs" / "contracts" / "search.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| [A-Z]+\S* \| (.*) \|$", page, flags=re.MULTILINE)
    assert dict(rows) == COLUMNS


# ------------------------------------------------------------------ the answer


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Three sessions with usage, and a fourth that has only prompts."""
    world = World(tmp_path)
    world.claude(
        claude("m1", "r1", input=1000, output=200, timestamp="2026-02-18T09:00:00Z"),
        claude("m2", "r2", input=100, output=10, timestamp="2026-02-19T20:20:00Z", model="claude-opus-4-5"),
    )
    world.claude(
        claude("m3", "r3", input=30, output=3, session="s2", model="house-model-7", minutes=60), name="s2.jsonl"
    )
    world.codex(meta("t1"), turn("gpt-5.4"), tokens((1_000, 400, 50), minutes=90), name=rollout_name("t1"))
    world.sync()
    index_sessions(
        world.ledger,
        [
            session("s1", "flaky test in the parser"),
            session("s2", "flaky docs", minutes=60),
            session("t1", "css", minutes=90, client="codex"),
            session("s9", "invoice", minutes=99),
        ],
    )
    return world


def ask(world: World, text: str, limit: int = 10, min_score: float = 0.0, **filters: Any) -> SearchDocument:
    words = Words()
    searched = SearchIndex(world.ledger, words, "toy/words", "UTC")
    return searched.search(text, limit=limit, min_score=min_score, selection=Selection(**filters))


def names(document: SearchDocument) -> list[str]:
    return [hit.session_id for hit in document.results]


def test_the_answer_is_the_contract(world: World) -> None:
    document = ask(world, "flaky parser test", limit=2, min_score=0.3)

    assert document.generated_at.endswith("Z")
    assert msgspec.to_builtins(msgspec.structs.replace(document, generated_at="")) == {
        "schema_version": 1,
        "generated_at": "",
        "query": "flaky parser test",
        "timezone": "UTC",
        "filters": {},
        "limit": 2,
        "min_score": 0.3,
        "basis": "estimate",
        "model": {
            "name": "toy/words",
            "sha256": SHA,
            "requested": "onnx",
            "actual": "numpy",
            "reason": "onnx: not installed",
            "precision": "fp32",
            "compute_unit": "a test's processor",
        },
        "index": {"sessions": 4, "vectors": 4, "matching": 4, "left_out": 0, "pending": None},
        "results": [
            {
                "rank": 1,
                "client": "claude-code",
                "session_id": "s1",
                "score": 0.654654,  # three words of three, and two others of five: 3 / (sqrt(3) * sqrt(7))
                "margin": 0.246406,
                "part": 1,
                "started_at": "2026-02-18T09:00:00Z",
                "project": "/home/ada/code/tidepool",
                "models": ["claude-sonnet-4-5", "claude-opus-4-5"],
                "event_count": 2,
                "total_tokens": 1310,
                "unpriced_tokens": 0,
                "list_price_usd": "0.006750000",  # 1000 at $3 and 200 at $15 a million; 100 at $5 and 10 at $25
                "effective_cost_usd": "0.006750000",
                "first_activity": "2026-02-18T09:00:00Z",
                "last_activity": "2026-02-19T20:15:00Z",
            },
            {
                "rank": 2,
                "client": "claude-code",
                "session_id": "s2",
                "score": 0.408248,
                "margin": 0.408248,
                "part": 1,
                "started_at": "2026-02-18T10:00:00Z",
                "project": "/home/ada/code/tidepool",
                "models": ["house-model-7"],
                "event_count": 1,
                "total_tokens": 33,
                "unpriced_tokens": 33,
                "list_price_usd": None,
                "effective_cost_usd": None,
                "first_activity": "2026-02-18T10:00:00Z",
                "last_activity": "2026-02-18T10:00:00Z",
            },
        ],
    }


def test_a_session_without_usage_is_found_with_nothing_to_its_name(world: World) -> None:
    (hit,) = ask(world, "invoice", limit=1).results
    assert (hit.session_id, hit.score, hit.margin) == ("s9", 1.0, 1.0)
    assert (hit.total_tokens, hit.list_price_usd, hit.project, hit.models, hit.last_activity) == (
        0,
        None,
        None,
        [],
        None,
    )


def test_filters_are_those_of_a_report(world: World) -> None:
    everything = "flaky css invoice"
    assert names(ask(world, everything)) == ["s9", "t1", "s2", "s1"]
    assert names(ask(world, everything, clients=("codex",))) == ["t1"]
    assert names(ask(world, everything, projects=("tidepool",))) == ["s2", "s1"]
    assert names(ask(world, everything, since="2026-02-19")) == ["s1"]
    assert names(ask(world, everything, until="2026-02-18")) == ["t1", "s2", "s1"]
    assert ask(world, everything, since="2030-01-01").index.matching == 0


@pytest.mark.parametrize("period", [{}, {"since": "2026-02-19"}, {"until": "2026-02-18"}])
def test_figures_are_those_of_a_report_over_the_same_selection(
    world: World, period: dict[str, str], plans: bool
) -> None:
    document = ask(world, "flaky css", min_score=-1, **period)
    connection = connect(world.ledger, read_only=True)
    costs = effective(connection, str(world.ledger.root))
    assert (costs is not None) == plans
    report = make_report(connection, "session", Selection(**period), datetime(2026, 3, 1, tzinfo=UTC), plans=costs)
    connection.close()
    expected = {
        row.key: (
            row.total_tokens,
            row.event_count,
            row.list_price_usd,
            row.effective_cost_usd,
            row.unpriced_tokens,
            row.project,
            [one.model for one in row.models],
        )
        for row in report.rows
    }
    told = {
        hit.session_id: (
            hit.total_tokens,
            hit.event_count,
            hit.list_price_usd,
            hit.effective_cost_usd,
            hit.unpriced_tokens,
            hit.project,
            hit.models,
        )
        for hit in document.results
        if hit.event_count
    }
    assert told == expected
    if plans:
        assert any(one[2] != one[3] for one in told.values())


@pytest.fixture(params=[False, True], ids=["no plans", "plans"])
def plans(request: pytest.FixtureRequest, world: World) -> bool:
    """Whether a subscription carries what was sent to Claude."""
    if request.param:
        text = "schema_version: 1\nsubscriptions:\n  - {name: Max, plan: anthropic/max-20x, from: 2026-02-01}\n"
        world.ledger.plans_path.write_text(text, encoding="utf-8")
    return bool(request.param)


def test_days_are_cut_in_the_ledgers_zone(world: World) -> None:
    world.sync(zone="Asia/Tokyo")  # 2026-02-19T20:20Z is the 20th there
    document = ask(world, "flaky", since="2026-02-20")
    assert (document.timezone, names(document)) == ("Asia/Tokyo", ["s1"])
    assert document.results[0].total_tokens == 110
    assert document.results[0].first_activity == "2026-02-19T20:15:00Z"


def test_a_second_question_finds_everything_loaded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    searched = SearchIndex(world.ledger, Words(), "toy/words", "UTC")
    chosen = Selection(clients=("claude-code",))
    first = searched.search("flaky", limit=1, min_score=0, selection=chosen)
    monkeypatch.setattr("tokenledger_dagster.inference.vector_index._kept", None)
    monkeypatch.setattr("tokenledger_dagster.inference.search.sessions_of", None)
    again = searched.search("flaky", limit=1, min_score=0, selection=chosen)
    assert again.results == first.results
    monkeypatch.undo()
    index_sessions(world.ledger, [session("s3", "flaky")])
    world.claude(claude("m9", "r9", session="s3", minutes=5), name="s3.jsonl")
    world.sync()
    assert names(searched.search("flaky", limit=1, min_score=0, selection=chosen)) == ["s3"]


def test_vectors_of_another_precision_are_never_compared(world: World) -> None:
    half = Words(precision="fp16")
    index_sessions(world.ledger, [session("s1", "flaky test in the parser")], half)

    document = ask(world, "flaky parser test", min_score=-1)
    assert (names(document)[0], document.index.sessions, document.index.left_out) == ("s2", 3, 1)
    document = SearchIndex(world.ledger, half, "toy/words", "UTC").search("flaky", limit=9, min_score=-1)
    assert (names(document), document.index.left_out, document.model.precision) == (["s1"], 3, "fp16")


def test_a_question_too_long_for_one_backend_is_cut_to_be_compared_with_what_that_one_embedded(world: World) -> None:
    apple = Words(max_tokens=40, coreml_tokens=12)
    index_sessions(world.ledger, [session("s1", "flaky test in the parser"), session("s2", "docs")], apple)
    question = "flaky test in the parser " + "grass " * 30

    document = SearchIndex(world.ledger, apple, "toy/words", "UTC").search(question, limit=9, min_score=-1)

    assert (document.model.precision, document.index.sessions, document.query) == ("fp16", 2, question)
    assert names(document)[0] == "s1"


def test_equal_ids_of_two_clients_are_two_sessions(world: World) -> None:
    world.codex(meta("s1"), turn("gpt-5.4"), tokens((500, 0, 10), minutes=9), name=rollout_name("s1"))
    world.sync()
    index_sessions(world.ledger, [session("s1", "docs", client="codex")])

    document = ask(world, "flaky parser docs", min_score=-1)
    told = {(hit.client, hit.session_id): hit.total_tokens for hit in document.results if hit.session_id == "s1"}
    assert told == {("claude-code", "s1"): 1310, ("codex", "s1"): 510}
    assert [hit.client for hit in ask(world, "docs", clients=("codex",)).results if hit.session_id == "s1"] == ["codex"]


def test_hostile_questions_and_ids_are_answered(world: World) -> None:
    ids = ["a\0b", "'); DROP TABLE cells; --", "x" * 3_000, "\x1b[2J"]
    index_sessions(world.ledger, [session(one, "deploy") for one in ids])
    assert set(names(ask(world, "deploy \ud800 \0 " + "x" * 100_000, min_score=-1, limit=99))) > set(ids)
    assert set(names(ask(world, "deploy", min_score=0.9))) == set(ids)


def test_prompts_are_in_the_document_only_where_they_were_asked_for(world: World) -> None:
    searched = SearchIndex(world.ledger, Words(), "toy/words", "UTC")
    assert b"prompts" not in msgspec.json.encode(searched.search("flaky", limit=1, min_score=0))
    asked: list[Any] = []

    def prompts(keys: list[tuple[str, str]]) -> dict[tuple[str, str], list[str]]:
        asked.extend(keys)
        return {("claude-code", "s2"): ["flaky docs"]}

    document = searched.search("flaky", limit=2, min_score=0, prompts=prompts)
    assert asked == [("claude-code", "s2"), ("claude-code", "s1")]
    assert [hit.prompts for hit in document.results] == [["flaky docs"], []]
