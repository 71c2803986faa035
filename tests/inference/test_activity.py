"""What a session was about: what is guessed, when nothing is, what is kept of it, and what its figures sum to."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.exports.small import small_world
from tests.inference.measure_uses import FROZEN
from tests.inference.words import SHA, Words, index_sessions, session
from tests.support import World
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.home import Home, ensure_home
from tokenledger_dagster.inference import vector_store
from tokenledger_dagster.inference.activity import (
    ACTIVITIES,
    OTHER,
    Guess,
    Rules,
    centers,
    guesses,
    load_rules,
    rules,
)
from tokenledger_dagster.inference.activity_costs import activity_costs, activity_markdown
from tokenledger_dagster.inference.session_activity import (
    Made,
    activities,
    forget,
    read_summary,
    table_path,
    write_activity,
)
from tokenledger_dagster.inference.vector_files import folder_of, live_files
from tokenledger_dagster.ingest.manifest import connect
from tokenledger_dagster.usage.report import make_report
from tokenledger_dagster.usage.selection import Selection

DEV = Path(__file__).with_name("activity_dev.jsonl")
CLASSES = (*ACTIVITIES, OTHER)
AXES = np.eye(len(CLASSES), dtype=np.float32)
"""As centers: each class is a dimension of its own."""
WORDS_OF = {"debug": "invoice", "feature": "css", "devops": "deploy", "docs": "docs", "test": "flaky test"}


def small_rules(**figures: Any) -> Rules:
    """One prototype a class, round thresholds; for `Words`, whose dimensions are a few known words."""
    told = {name: [WORDS_OF.get(name, f"{name} {name}")] for name in CLASSES}
    shared = {"schema_version": 1, "min_tokens": 4, "min_score": 0.3, "min_margin": 0.1}
    return Rules(**{**shared, "prototypes": told, **figures})


def one(tokens: int = 9, **towards: float) -> Guess:
    """What is said of a text that is so near to some classes."""
    vector = np.array([[towards.get(name, 0.0) for name in CLASSES]], np.float32)
    (found,) = guesses(vector, [tokens], AXES, small_rules())
    return found


# ------------------------------------------------------------------ the guess


def test_the_nearest_class_is_named_with_score_margin_and_runner_up() -> None:
    assert one(docs=0.8, test=0.5) == Guess("docs", "", "docs", "test", 0.8, 0.3)


@pytest.mark.parametrize(
    ("towards", "tokens", "reason", "nearest"),
    [
        ({"docs": 0.8, "test": 0.75}, 9, "low_margin", "docs"),
        ({"docs": 0.25}, 9, "low_score", "docs"),
        ({"other": 0.9, "docs": 0.2}, 9, "other", "other"),
        ({"docs": 0.9}, 3, "too_short", None),
        ({}, 9, "low_score", "debug"),
    ],
)
def test_where_it_is_not_clear_nothing_is_said_and_why(
    towards: dict[str, float], tokens: int, reason: str, nearest: str | None
) -> None:
    found = one(tokens, **towards)
    assert (found.activity, found.abstained, found.nearest) == (None, reason, nearest)


def test_just_at_the_thresholds_is_said() -> None:
    assert one(4, docs=0.3).activity == "docs"
    assert one(docs=0.6, test=0.5).activity == "docs"


def test_a_center_is_the_middle_of_its_prototypes() -> None:
    wanted = small_rules(prototypes={name: [f"{name} one", f"{name} two"] for name in CLASSES})
    vectors = np.zeros((len(wanted.texts), 2), np.float32)
    vectors[:, 0] = 1
    vectors[1] = (0, 1)

    found = centers(vectors, wanted)

    assert found.shape == (9, 2)
    assert found[0].tolist() == pytest.approx([2**-0.5, 2**-0.5])
    assert found[1].tolist() == [1, 0]


@given(st.lists(st.lists(st.floats(-1, 1, width=32), min_size=9, max_size=9), min_size=1, max_size=6), st.randoms())
def test_a_guess_depends_on_its_own_text_alone_and_keeps_the_thresholds(rows: list[list[float]], random: Any) -> None:
    wanted, counts = small_rules(), [random.randint(0, 9) for _ in rows]
    found = list(guesses(np.array(rows, np.float32), counts, AXES, wanted))

    for row, count, said in zip(rows, counts, found, strict=True):
        assert list(guesses(np.array([row], np.float32), [count], AXES, wanted)) == [said]
        assert (said.activity is None) == bool(said.abstained)
        if said.activity is not None:
            assert said.activity in ACTIVITIES
            assert said.activity == said.nearest != said.runner_up
            assert count >= wanted.min_tokens
            assert (said.score or 0) >= wanted.min_score
            assert (said.margin or 0) >= wanted.min_margin


# ------------------------------------------------------------------ the rules


def test_the_committed_rules_name_every_class_and_may_abstain() -> None:
    wanted = rules()
    assert set(wanted.prototypes) == set(CLASSES)
    assert wanted.min_margin > 0
    assert wanted.min_tokens > 3, "`continue` is one token and two special ones"


def test_nothing_of_the_frozen_set_is_among_what_was_written_or_chosen_by() -> None:
    """Prototypes and the texts that thresholds were chosen on came first; see the head of `config/activities.yaml`."""

    def said(path: Path) -> list[str]:
        return [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]

    def words(text: str) -> str:
        return " ".join(re.findall(r"\w+", text.casefold()))

    frozen = {words(text) for text in said(FROZEN / "prompts.jsonl")}
    assert len(said(DEV)) == 96
    mine = {words(text) for text in (*said(DEV), *rules().texts)}
    assert mine & frozen == {"continue", "yes do it", "no the other one"}, "bare answers, which are `other` everywhere"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("min_margin: 0.05", ("min_margin: -1", ">= 0.0")),
        ("  debug:", ("  debugging:", "debug, debugging: is missing or unknown")),
        ("schema_version: 1", ("schema_version: 2", "Invalid enum value 2")),
        ("    - fix this bug\n", ("    - continue\n", "a text stands there twice")),
        ("    - fix this bug\n", ("    - ' '\n", "matching regex")),
        ("prototypes:", ("prototypes: [", "while parsing")),
        ("min_score: 0.1", ("min_score: 0.1\nmax_score: 1", "unknown field `max_score`")),
    ],
)
def test_rules_that_cannot_be_meant_are_refused_in_one_line(tmp_path: Path, change: str, told: tuple[str, str]) -> None:
    path = tmp_path / "activities.yaml"
    text = (Path(__file__).parents[2] / "config" / "activities.yaml").read_text(encoding="utf-8")
    assert change in text
    path.write_text(text.replace(change, told[0], 1), encoding="utf-8")

    with pytest.raises(TokenLedgerError) as caught:
        load_rules(path)

    assert told[1] in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_missing_rules_name_file_and_remedy(tmp_path: Path) -> None:
    with pytest.raises(TokenLedgerError, match="No such file or directory; install TokenLedger again"):
        load_rules(tmp_path / "none.yaml")


# ------------------------------------------------------------------ the table


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return ensure_home(tmp_path / "ledger", "test")


class Opened:
    """Gives `Words` and counts how often."""

    def __init__(self, words: Words | None = None) -> None:
        self.words, self.times = words or Words(), 0

    @contextmanager
    def __call__(self) -> Iterator[Words]:
        self.times += 1
        yield self.words


def made(home: Home, opened: Opened | None = None, **figures: Any) -> Made:
    found = opened or Opened()
    return write_activity(home, found, found.words.sha, using=small_rules(**figures))


SESSIONS = (
    session("s1", "the flaky test"),
    session("s2", "deploy deploy", "deploy again please"),
    session("s3", "continue"),
    session("s4", "invoice css and nothing else"),
)


def test_each_session_has_one_row_by_its_first_part(home: Home) -> None:
    index_sessions(home, SESSIONS)

    summary = made(home).summary

    assert activities(home) == {
        ("claude-code", "s1"): "test",
        ("claude-code", "s2"): "devops",
        ("claude-code", "s3"): None,
        ("claude-code", "s4"): None,
    }
    assert (summary.sessions, summary.guessed) == (4, 2)
    assert summary.by_activity == {"devops": 1, "test": 1}
    assert summary.abstained == {"low_margin": 1, "too_short": 1}
    assert summary.is_estimate
    rows = duckdb.execute(f"SELECT * FROM '{table_path(home)}' ORDER BY session_id").fetchall()
    # two of three words: cosine 2 / sqrt(6); of classes that are equally near the first one is the runner-up
    assert rows[0][2:8] == ("test", "", "test", "refactor", 0.8165, 0.2391)
    assert rows[0][8:] == ("nearest-center", SHA, "onnx", "numpy", True)
    assert [row[3] for row in rows] == ["", "", "too_short", "low_margin"]


def test_only_prototypes_are_embedded_and_only_where_something_changed(home: Home) -> None:
    index_sessions(home, SESSIONS)
    opened = Opened()
    first = made(home, opened)

    assert opened.words.asked == small_rules().texts
    assert first.is_new
    again = made(home, opened)
    assert (again.is_new, again.summary, opened.times) == (False, first.summary, 1)

    assert made(home, opened, min_margin=0.0).summary.digest != first.summary.digest
    index_sessions(home, [*SESSIONS[:3], session("s4", "the docs the docs docs")])
    assert made(home, opened).summary.by_activity == {"devops": 1, "docs": 1, "test": 1}
    assert opened.times == 3


def test_a_session_whose_prompts_are_gone_has_no_row(home: Home) -> None:
    index_sessions(home, SESSIONS)
    index_sessions(home, [session("s1"), *SESSIONS[1:]])
    made(home)

    assert ("claude-code", "s1") not in activities(home)


def test_vectors_of_another_model_are_compared_with_nothing(home: Home) -> None:
    index_sessions(home, SESSIONS)

    other = made(home, Opened(Words(sha="b" * 64)))

    assert other.summary.abstained == {"other_model": 4}
    assert made(home, Opened(Words(precision="fp16"))).summary.abstained != {}


def test_without_vectors_the_table_is_empty_and_nothing_is_opened(home: Home) -> None:
    opened = Opened()
    assert made(home, opened).summary.sessions == opened.times == 0
    assert activities(home) == {}
    assert duckdb.execute(f"SELECT count(*) FROM '{table_path(home)}'").fetchall() == [(0,)]


def test_switched_off_it_leaves_nothing(home: Home) -> None:
    index_sessions(home, SESSIONS)
    made(home)
    forget(home)
    forget(home)

    assert (activities(home), read_summary(home)) == ({}, None)


@pytest.mark.parametrize("damage", [b"", b"\0" * 64, b"PAR1 and no more"])
def test_damaged_files_are_told_in_one_line_with_the_remedy(home: Home, damage: bytes) -> None:
    index_sessions(home, SESSIONS)
    made(home)
    table_path(home).write_bytes(damage)
    with pytest.raises(TokenLedgerError, match="delete it, it is made anew"):
        activities(home)

    live_files(folder_of(home))[0].path.write_bytes(damage)
    with pytest.raises(TokenLedgerError, match="delete it: the next search embeds its sessions again"):
        made(home)


def test_damage_is_found_in_the_columns_that_only_activities_read(home: Home) -> None:
    index_sessions(home, SESSIONS)
    (file,) = live_files(folder_of(home))
    column = pq.ParquetFile(file.path).metadata.row_group(0).column(list(vector_store.COLUMNS).index("token_count"))
    content = bytearray(file.path.read_bytes())
    content[column.dictionary_page_offset + column.total_compressed_size - 1] ^= 1
    file.path.write_bytes(content)
    with pytest.raises(TokenLedgerError, match="delete it: the next search embeds its sessions again"):
        made(home)


def test_a_damaged_summary_counts_as_none(home: Home) -> None:
    index_sessions(home, SESSIONS)
    digest = made(home).summary.digest
    table_path(home).with_suffix(".json").write_bytes(b'{"schema_version": 1, "key": 7')

    again = made(home)

    assert (again.is_new, again.summary.digest) == (True, digest)


# ------------------------------------------------------------------ figures


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> World:
    return small_world(tmp_path_factory.mktemp("small"))


def test_usage_is_summed_by_the_activity_of_its_session(small: World) -> None:
    known = {("claude-code", "s1"): "debug", ("codex", "t1"): None}
    with connect(small.ledger, read_only=True) as connection:
        found = activity_costs(connection, Selection(), known)

    told = [(row.label, row.sessions, row.events, row.tokens, row.list_price_usd) for row in found.rows]
    assert told == [
        ("debug", 1, 3, 11_850, Decimal("0.012300000")),
        ("no activity guessed", 1, 1, 1_050, Decimal("0.001300000")),
        ("prompts not embedded", 1, 1, 20, Decimal("0.000180000")),
    ]
    assert [row.unpriced_tokens for row in found.rows] == [50, 0, 0]
    assert (found.guessed_sessions, found.sessions, found.guessed_tokens, found.tokens) == (1, 3, 11_850, 12_920)
    assert "| debug | 1 | 11,850 | $0.01 |" in activity_markdown(found)


@given(st.dictionaries(st.sampled_from(["s1", "s2", "t1", "gone"]), st.sampled_from([None, "debug", "docs"])))
def test_whatever_is_guessed_the_sums_are_those_of_the_report(small: World, said: dict[str, str | None]) -> None:
    known = {(client, name): value for name, value in said.items() for client in ("claude-code", "codex")}
    with connect(small.ledger, read_only=True) as connection:
        found = activity_costs(connection, Selection(since="2026-02-18", until="2026-02-28"), known)
        totals = make_report(connection, "daily", Selection(), datetime(2026, 3, 1, tzinfo=UTC)).totals

    assert sum(row.tokens for row in found.rows) == found.tokens == totals.total_tokens
    assert sum(row.events for row in found.rows) == totals.event_count
    assert found.list_price_usd == totals.list_price_usd
    assert found.sessions == totals.session_count
    assert {row.activity for row in found.rows} <= {None, "debug", "docs"}


def test_a_period_without_usage_has_no_rows(small: World) -> None:
    with connect(small.ledger, read_only=True) as connection:
        found = activity_costs(connection, Selection(since="2030-01-01"), {})

    assert msgspec.structs.astuple(found) == ([], 0, 0, 0, 0, None)
