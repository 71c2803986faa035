"""What must hold of the embedding model and of estimates is found where it does not, with the rows that break it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import duckdb
import pytest

from tokenledger_dagster.governance.invariants import INVARIANTS, CheckOutcome, Inspection, inspect
from tokenledger_dagster.home import Home, ensure_home
from tokenledger_dagster.inference import session_activity, vector_store
from tokenledger_dagster.inference.backend import Served
from tokenledger_dagster.inference.estimates import table as token_estimates
from tokenledger_dagster.inference.vector_files import folder_of

np = pytest.importorskip("numpy")

NAMES = (
    "model_files_intact",
    "vectors_are_whole",
    "guesses_keep_their_limits",
    "estimates_are_possible",
    "suggestions_keep_the_digits",
)
NOW = datetime(2026, 3, 1)
BY_ONNX = Served("onnx", "onnx", "", "fp32", "CPUExecutionProvider", "ab" * 32)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return ensure_home(tmp_path / "ledger", "test")


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def look(name: str, home: Home, con: duckdb.DuckDBPyConnection) -> CheckOutcome:
    return inspect(name, Inspection(home, con, "UTC"))


def test_only_what_others_compare_with_holds_them_back() -> None:
    assert {name: INVARIANTS[name].blocking for name in NAMES} == {
        "model_files_intact": True,
        "vectors_are_whole": True,
        "guesses_keep_their_limits": False,
        "estimates_are_possible": False,
        "suggestions_keep_the_digits": False,
    }


@pytest.mark.parametrize("name", NAMES)
def test_where_nothing_was_made_there_is_nothing_to_decide(
    name: str, home: Home, con: duckdb.DuckDBPyConnection
) -> None:
    found = look(name, home, con)

    assert (found.passed, found.skipped) == (True, True)


# ------------------------------------------------------------------ the model


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    for package in ("onnx", "onnxruntime", "safetensors", "tokenizers"):
        pytest.importorskip(package, reason=f"{package} is of the extra `inference`")
    from tests.inference.models import Toy
    from tokenledger_dagster.inference import build as building
    from tokenledger_dagster.inference.fetch import fetch

    monkeypatch.setattr(building, "_has_coremltools", lambda: False)  # takes seconds to import
    toy = Toy(tmp_path)
    fetch(toy.home, toy.card, str(toy.source), note=toy.note)
    building.build(toy.home, toy.card, note=toy.note)
    return toy.home


def test_a_model_with_one_other_byte_is_named(built: Home, con: duckdb.DuckDBPyConnection) -> None:
    assert look("model_files_intact", built, con).passed

    weights = built.models / "all-MiniLM-L6-v2" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    found = look("model_files_intact", built, con)

    assert (found.passed, found.actual, found.expected) == (False, 1, 0)
    assert found.rows[0]["file"] == "model.safetensors"
    assert found.description.startswith(str(weights))


def test_a_damaged_manifest_fails_and_is_no_traceback(built: Home, con: duckdb.DuckDBPyConnection) -> None:
    manifest = built.models / "all-MiniLM-L6-v2" / "manifest.json"
    manifest.write_bytes(b'{"schema_version": 1')

    found = look("model_files_intact", built, con)

    assert not found.passed
    assert found.description.startswith(f"{manifest}: is no manifest")


# ------------------------------------------------------------------ vectors


def write_session(home: Home, vectors: list[list[float]], served: Served = BY_ONNX) -> None:
    folder = folder_of(home)
    folder.mkdir(parents=True, exist_ok=True)
    count = len(vectors)
    one = vector_store.SessionVectors(
        *("codex", "s1", NOW, "d1", np.array(vectors, dtype=np.float32), [9] * count, [False] * count, [served] * count)
    )
    vector_store.append(folder, [one], [], 2, NOW)


def test_whole_vectors_pass_also_where_an_earlier_batch_was_replaced(
    home: Home, con: duckdb.DuckDBPyConnection
) -> None:
    write_session(home, [[3.0, 4.0]])
    write_session(home, [[0.6, 0.8], [1.0, 0.0]])

    assert look("vectors_are_whole", home, con).passed


@pytest.mark.parametrize("wrong", [[3.0, 4.0], [0.0, 0.0], [float("nan"), 1.0], [float("inf"), 0.0]])
def test_a_vector_that_is_not_of_length_1_is_named(
    wrong: list[float], home: Home, con: duckdb.DuckDBPyConnection
) -> None:
    write_session(home, [[0.6, 0.8], wrong])

    found = look("vectors_are_whole", home, con)

    assert (found.passed, found.actual) == (False, 1)
    assert found.rows == [{"client": "codex", "session_id": "s1", "part": 2, "problem": "is not of length 1"}]
    assert found.description.startswith("Part 2 of codex s1 is not of length 1: searches would")


def test_a_backend_that_stood_in_without_a_word_is_named(home: Home, con: duckdb.DuckDBPyConnection) -> None:
    write_session(home, [[0.6, 0.8]], BY_ONNX._replace(actual="numpy", reason="onnx: session: refused"))
    assert look("vectors_are_whole", home, con).passed

    write_session(home, [[0.6, 0.8]], BY_ONNX._replace(actual="numpy"))
    found = look("vectors_are_whole", home, con)

    assert [row["problem"] for row in found.rows] == ["is by numpy, not onnx, without a reason"]


def test_files_that_cannot_be_read_fail(home: Home, con: duckdb.DuckDBPyConnection) -> None:
    write_session(home, [[0.6, 0.8]])
    (path,) = folder_of(home).glob("*.parquet")
    path.write_bytes(path.read_bytes()[:-20])

    found = look("vectors_are_whole", home, con)

    assert not found.passed
    assert found.description.startswith("A file cannot be read (")


# ------------------------------------------------------------------ guesses


GUESS = {"client": "codex", "session_id": "s1", "activity": "debug", "abstained": "", "score": 0.9, "margin": 0.5}


def write_guess(home: Home, con: duckdb.DuckDBPyConnection, **values: object) -> None:
    row = {**GUESS, "is_estimate": True, **values}
    path = session_activity.table_path(home)
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = ", ".join(f"${name} AS {name}" for name in row)
    con.execute(f"CREATE OR REPLACE TEMP TABLE guess AS SELECT {columns}", row)
    con.execute(f"COPY guess TO '{path}' (FORMAT parquet)")


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({}, None),
        ({"activity": None, "abstained": "too_short", "score": 0.1, "margin": 0.0}, None),
        ({"activity": "gardening"}, "is no known class"),
        ({"activity": "other"}, "is no known class"),
        ({"score": 0.01}, "is claimed at a score below"),
        ({"score": float("nan")}, "is claimed at a score below"),
        ({"margin": 0.0}, "is claimed at a margin below"),
        ({"abstained": "low_score"}, "claims something and abstains, or does neither"),
        ({"activity": None}, "claims something and abstains, or does neither"),
        ({"is_estimate": False}, "is not marked as an estimate"),
    ],
)
def test_a_guess_says_no_more_than_it_may(
    values: dict[str, object], problem: str | None, home: Home, con: duckdb.DuckDBPyConnection
) -> None:
    write_guess(home, con, **values)

    found = look("guesses_keep_their_limits", home, con)

    assert found.passed is (problem is None)
    assert problem is None or found.rows[0]["problem"].startswith(problem)


# ------------------------------------------------------------------ token estimates


def estimate(**values: object) -> tuple[object, ...]:
    row: dict[str, object] = {
        **{"client": "cursor", "session_id": "s1", "first_time": NOW, "last_time": NOW, "model_raw": None},
        **{"maker": None, "prompt_count": 1, "answer_count": 1, "prompt_characters": 40, "answer_characters": 400},
        **{"estimated_prompt_tokens": 10, "estimated_answer_tokens": 100, "is_estimated": True, "method": "shipped"},
        **{"expected_error_percent": 17, "sample_count": 9, "booked_events": 0, "source_path": "/logs/a.jsonl"},
        **values,
    }
    return tuple(row[column.name] for column in token_estimates.TOKEN_ESTIMATES.columns)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({}, None),
        ({"estimated_prompt_tokens": 160}, None),
        ({"estimated_prompt_tokens": 161}, "has more prompt tokens than bytes"),
        ({"estimated_answer_tokens": 1601}, "has more answer tokens than bytes"),
        ({"estimated_answer_tokens": -1}, "is below zero"),
        ({"prompt_count": 0, "answer_count": 0}, "is of nothing"),
        ({"is_estimated": False}, "is not marked as an estimate"),
    ],
)
def test_no_text_has_more_tokens_than_bytes(
    values: dict[str, object], problem: str | None, home: Home, con: duckdb.DuckDBPyConnection
) -> None:
    path = token_estimates.table_path(home)
    path.parent.mkdir(parents=True, exist_ok=True)
    token_estimates.write_table(path, [estimate(**values)])

    found = look("estimates_are_possible", home, con)

    assert found.passed is (problem is None)
    assert problem is None or found.rows[0]["problem"] == problem


# ------------------------------------------------------------------ suggestions


def write_suggestion(home: Home, name: str, model: str, modifiers: dict[str, str]) -> None:
    import msgspec

    from tokenledger_dagster.contracts.mapping_suggestions import MappingReview, MappingSuggestion, NameInReview
    from tokenledger_dagster.inference.mapping_suggestions import review_path

    suggestion = MappingSuggestion(
        model=model,
        maker="anthropic",
        modifiers=modifiers,
        method="dice-tfidf",
        score=0.9,
        margin=0.1,
        cosine=None,
        override="",
    )
    waiting = NameInReview(
        client="codex",
        name=name,
        maker=None,
        rule="unknown_name",
        confidence=0,
        events=1,
        tokens=1,
        first_day="2026-03-01",
        last_day="2026-03-01",
        suggestions=[suggestion],
    )
    review = MappingReview(
        generated_at="2026-03-01T00:00:00Z",
        overrides_path="overrides.yaml",
        below_confidence=85,
        min_score=0.7,
        embedding="off",
        names_total=1,
        names=[waiting],
    )
    review_path(home).parent.mkdir(parents=True, exist_ok=True)
    review_path(home).write_bytes(msgspec.json.encode({**msgspec.to_builtins(review), "key": "k"}))


@pytest.mark.parametrize(
    ("name", "model", "modifiers", "problem"),
    [
        ("claude-sonet-4-5", "claude-sonnet-4-5", {}, None),
        ("claude-sonet-4-5-20250929", "claude-sonnet-4-5", {"date": "2025-09-29"}, None),
        ("claude-sonnet-5", "claude-sonnet-4-5", {}, "has digits that the name does not have"),
        ("claude-sonet-4-5-6", "claude-sonnet-4-5", {}, "lacks digits of the name"),
        ("claude-sonet-9", "claude-sonet-9", {}, "is in no catalogue"),
    ],
)
def test_another_version_is_no_suggestion(
    name: str,
    model: str,
    modifiers: dict[str, str],
    problem: str | None,
    home: Home,
    con: duckdb.DuckDBPyConnection,
) -> None:
    write_suggestion(home, name, model, modifiers)

    found = look("suggestions_keep_the_digits", home, con)

    assert found.passed is (problem is None)
    assert problem is None or found.rows == [{"client": "codex", "name": name, "model": model, "problem": problem}]
