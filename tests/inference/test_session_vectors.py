"""What is embedded, what is kept, and that neither depends on how or how often."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from datetime import datetime
from pathlib import Path

import duckdb
import msgspec
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.inference.killed_vectors import FIRST, THEN
from tests.inference.words import SHA, Session, Words, index_sessions, rules, session, tokens
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.home import Home, ensure_home
from tokenledger_dagster.inference import vector_store
from tokenledger_dagster.inference.parts import split
from tokenledger_dagster.inference.vector_files import file_name, folder_of, live_files, writing
from tokenledger_dagster.inference.vector_index import VectorIndex, cache_folder, open_index


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return ensure_home(tmp_path / "ledger", "test")


def index_of(home: Home, sha: str = SHA, precision: str = "fp32") -> VectorIndex:
    return open_index(home, sha, precision)


def vectors(home: Home) -> dict[tuple[str, str], list[list[float]]]:
    """Vectors by client and session, rounded so that they can be written down."""
    keys, matrix, _ = index_of(home)
    ends = [*keys.starts[1:], keys.rows]
    return {
        (client, name): matrix[start:end].astype(float).round(3).tolist()
        for client, name, start, end in zip(keys.clients, keys.session_ids, keys.starts, ends, strict=True)
    }


def embedded(home: Home) -> set[str]:
    return {name for _, name in vectors(home)}


# ------------------------------------------------------------------ parts


def parts(*texts: str, max_parts: int = 4, max_tokens: int = 3) -> tuple[list[str], bool]:
    found = split(texts, tokens, max_parts=max_parts, max_tokens=max_tokens)
    return found.texts, found.is_cut


def test_short_prompts_share_a_part_and_stay_whole() -> None:
    assert parts("a", "b c", "d e", "f") == (["a\nb c", "d e\nf"], False)


def test_a_long_prompt_goes_on_in_the_next_part_at_the_end_of_a_word() -> None:
    assert parts("a", "b c d e f g h") == (["a", "b c d", "e f g", "h"], False)


def test_what_is_behind_the_last_part_is_left_out_and_told() -> None:
    assert parts("a b c d e f g", max_parts=2) == (["a b c", "d e f"], True)
    assert parts("a b c", "d e f", max_parts=2) == (["a b c", "d e f"], False)


def test_blank_prompts_are_no_parts() -> None:
    assert parts("", " \n\t", " a ") == (["a"], False)


def test_text_without_spaces_is_cut_where_it_must_be() -> None:
    found = split(["x" * 700], len, max_parts=4, max_tokens=254)
    assert [len(text) for text in found.texts] == [200, 200, 200, 100]


@given(st.lists(st.text(alphabet="ab \n", max_size=40), max_size=8), st.integers(1, 5), st.integers(1, 6))
def test_parts_hold_the_words_in_order_and_no_more_than_fits(texts: list[str], most: int, longest: int) -> None:
    found = split(texts, lambda text: len(text.replace(" ", "").replace("\n", "")), max_parts=most, max_tokens=longest)
    kept = "".join("".join(found.texts).split())
    whole = "".join("".join(texts).split())
    assert whole.startswith(kept)
    assert found.is_cut == (kept != whole)
    assert len(found.texts) <= most
    assert all(text.strip() and len("".join(text.split())) <= longest for text in found.texts)


# ------------------------------------------------------------------ what is embedded


def test_sessions_have_a_unit_vector_for_each_part(home: Home) -> None:
    done = index_sessions(home, [session("s1", "flaky test", "css"), session("s2", "docs " * 15, client="codex")])

    assert (done.held, done.sessions, done.embedded, done.unchanged) == (True, 2, 2, 0)
    assert vectors(home) == {
        ("claude-code", "s1"): [[0, 0.577, 0.577, 0, 0.577, 0, 0, 0]],
        ("codex", "s2"): [[0, 0, 0, 0, 0, 0, 1, 0], [0, 0, 0, 0, 0, 0, 1, 0]],
    }


def test_a_second_update_embeds_nothing(home: Home) -> None:
    sessions = [session("s1", "flaky test"), session("s2", "docs")]
    index_sessions(home, sessions)
    before, words = files(home), Words()

    done = index_sessions(home, sessions, words)

    assert (done.embedded, done.unchanged, words.asked, files(home)) == (0, 2, [], before)


def test_a_changed_session_is_embedded_again_and_replaces_all_of_its_parts(home: Home) -> None:
    index_sessions(home, [session("s1", "docs " * 15), session("s2", "css")])
    words = Words()

    done = index_sessions(home, [session("s1", "invoice"), session("s2", "css")], words)

    assert (done.embedded, done.unchanged, words.asked) == (1, 1, ["invoice"])
    assert vectors(home)["claude-code", "s1"] == [[0, 0, 0, 1, 0, 0, 0, 0]]


def test_newest_sessions_come_first_and_those_without_a_time_last(home: Home) -> None:
    timeless = Session(client="codex", session_id="s0", started_at=None, texts=["deploy"], prompt_count=1, digest="d")
    sessions = [timeless, session("s1", "css", minutes=1), session("s3", "docs", minutes=3), session("s2", "parser")]
    words, told = Words(), []

    index_sessions(home, sessions, words, progress=lambda *done: told.append(done), rules=rules(batch_sessions=3))

    assert words.asked == ["docs", "css", "parser", "deploy"]
    assert told == [(0, 4), (3, 4), (4, 4)]


def test_a_session_whose_prompts_went_is_forgotten_and_one_whose_log_went_is_kept(home: Home) -> None:
    index_sessions(home, [session("s1", "css"), session("s2", "docs"), session("s3", "parser")])

    done = index_sessions(home, [session("s1"), session("s3", "parser"), session("s4", " ")])

    assert (done.sessions, done.forgotten, embedded(home)) == (1, 1, {"s2", "s3"})


def test_another_model_or_precision_is_no_part_of_the_index_until_embedded_again(home: Home) -> None:
    sessions = [session("s1", "css", minutes=1), session("s2", "docs")]
    index_sessions(home, sessions)
    before = index_of(home).digest
    for words in (Words(sha="b" * 64), Words(precision="fp16")):
        assert index_of(home, words.sha, words.precision).keys.rows == 0
        assert sorted(index_of(home, words.sha, words.precision).keys.left_out) == [
            ("claude-code", "s1"),
            ("claude-code", "s2"),
        ]

    half = Words(precision="fp16")
    with pytest.raises(KeyboardInterrupt):
        index_sessions(home, sessions, half, progress=interrupt, rules=rules(batch_sessions=1))

    # the newest was done: it is comparable with what is fp16, the other with what is fp32
    assert (index_of(home, SHA, "fp16").keys.session_ids, index_of(home).keys.session_ids) == (["s1"], ["s2"])
    assert index_sessions(home, sessions, half).embedded == 1
    assert len(index_of(home, SHA, "fp16").keys.starts) == 2
    assert index_of(home, SHA, "fp16").digest != before
    assert (index_of(home).keys.rows, len(index_of(home).keys.left_out)) == (0, 2)


def test_where_one_backend_takes_less_parts_are_cut_for_it_so_that_all_can_be_compared(home: Home) -> None:
    words = Words(max_tokens=14, coreml_tokens=7)
    long = [session("s1", "docs " * 12), session("s2", "css")]

    index_sessions(home, long, words)

    keys = index_of(home, SHA, "fp16").keys
    assert (sorted(keys.session_ids), keys.rows, keys.left_out) == (["s1", "s2"], 4, [])
    assert index_sessions(home, long, words).unchanged == 2


def interrupt(done: int, total: int) -> None:
    if done:
        raise KeyboardInterrupt


def test_other_rules_of_cutting_embed_again(home: Home) -> None:
    index_sessions(home, [session("s1", "docs " * 25)])
    assert index_of(home).keys.rows == 3

    assert index_sessions(home, [session("s1", "docs " * 25)], rules=rules(max_parts=2)).embedded == 1
    assert index_of(home).keys.rows == 2


def test_hostile_ids_and_texts_come_back_as_they_were_or_are_counted(home: Home) -> None:
    ids = ["", "a\0b", "../../etc/passwd", "x" * 5_000, "'); DROP TABLE events; --", "\u202e\n\t\x1b[31m", "\U0001f600"]
    sessions = [session(one, f"css {one}\0 \ud800") for one in ids]

    done = index_sessions(home, [*sessions, session("\ud800", "docs")])

    assert (done.embedded, done.unusable, embedded(home)) == (len(ids), 1, set(ids))
    assert index_sessions(home, sessions).unchanged == len(ids)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_order_and_batches_do_not_matter(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    sessions = [session(f"s{i}", f"{word} test", minutes=i % 3) for i, word in enumerate(Words.VOCABULARY)]
    home = ensure_home(tmp_path_factory.mktemp("home"), "test")
    chosen = rules(batch_sessions=data.draw(st.integers(1, 4)), merge_files=data.draw(st.integers(2, 5)))
    for part in data.draw(st.permutations(sessions)), sessions[: data.draw(st.integers(1, 7))]:
        index_sessions(home, part, rules=chosen)
    plain = ensure_home(tmp_path_factory.mktemp("home"), "test")
    index_sessions(plain, sessions)
    assert vectors(home) == vectors(plain)
    assert index_of(home).digest == index_of(plain).digest


# ------------------------------------------------------------------ files


def files(home: Home) -> list[str]:
    return [one.path.name for one in live_files(folder_of(home))]


def test_the_latest_files_are_merged_as_soon_as_they_weigh_as_much(home: Home) -> None:
    found = []
    for number in range(6):
        index_sessions(home, [session(f"s{number}", "css")], rules=rules(merge_files=2))
        found.append([name.split("x")[0] for name in files(home)])
    assert found == [
        ["0000000001-0000000001-1"],
        ["0000000001-0000000001-1", "0000000002-0000000002-1"],
        ["0000000001-0000000003-3"],
        ["0000000001-0000000003-3", "0000000004-0000000004-1"],
        ["0000000001-0000000003-3", "0000000004-0000000005-2"],
        ["0000000001-0000000003-3", "0000000004-0000000005-2", "0000000006-0000000006-1"],
    ]
    assert embedded(home) == {f"s{number}" for number in range(6)}


def test_merging_drops_what_was_replaced_but_remembers_what_an_earlier_file_may_hold(home: Home) -> None:
    often = rules(merge_files=2)
    many = [session(f"s{number}", "css") for number in range(4)]
    index_sessions(home, many, rules=often)
    index_sessions(home, [session("s0")], rules=often)  # a row that only says that it is gone
    index_sessions(home, [session("s1", "docs")], rules=often)
    index_sessions(home, [session("s1", "parser")], rules=often)

    assert [name.split("-")[2] for name in files(home)] == ["4x8.parquet", "2x8.parquet", "1x8.parquet"]
    assert embedded(home) == {"s1", "s2", "s3"}
    for number in range(5, 9):
        index_sessions(home, [session(f"s{number}", "css")], rules=often)
    assert embedded(home) == {"s1", "s2", "s3", "s5", "s6", "s7", "s8"}
    assert sum(int(name.split("-")[2].split("x")[0]) for name in files(home)) == 7


def test_merging_keeps_all_that_the_columns_say(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_store, "_READ_ROWS", 2)  # rows are read and written a few at a time
    many = [session(f"s{number}", "css " * 8, "docs " * 8) for number in range(4)]
    index_sessions(home, many[:2])
    index_sessions(home, [session("s1"), many[2]])
    written = [row for one in live_files(folder_of(home)) for row in pq.read_table(one.path).to_pylist()]

    index_sessions(home, [session("s2", "invoice"), many[3]], rules=rules(merge_files=1))

    (file,) = live_files(folder_of(home))
    merged = pq.ParquetFile(file.path)
    rows = merged.read().to_pylist()
    assert [row for row in rows if row["session_id"] == "s0"] == [row for row in written if row["session_id"] == "s0"]
    assert [(row["session_id"], row["part"]) for row in rows] == [
        ("s0", 1),
        ("s0", 2),
        ("s2", 1),
        ("s3", 1),
        ("s3", 2),
    ]
    assert max(merged.metadata.row_group(group).num_rows for group in range(merged.num_row_groups)) <= 4


@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_a_kill_anywhere_loses_nothing_that_was_told_and_doubles_nothing(tmp_path: Path, step: int) -> None:
    script = Path(__file__).with_name("killed_vectors.py")
    subprocess.run([sys.executable, script, tmp_path, str(step)], check=True, timeout=120)
    final = {
        ("claude-code", one.session_id): Words().vector((one.texts or [""])[0]).astype(float).round(3).tolist()
        for one in THEN
    }
    places = sorted(tmp_path.iterdir())
    assert len(places) > 20 // step
    for place in places:
        home = Home(place)
        told = dict(line.split(" ", 1) for line in (place / "told").read_text().splitlines())
        names = Counter(index_of(home).keys.session_ids)
        assert set(names.values()) <= {1}
        assert told.keys() <= names.keys()
        known = {one.session_id: str(one.texts) for one in (*FIRST, *THEN)}
        assert all(told[name] == known[name] or name == "b" for name in told)
        if "invoice" in told.get("b", ""):
            assert vectors(home)["claude-code", "b"] == [final["claude-code", "b"]]
        # and the next update brings all of it to the same end, with nothing left lying about
        index_sessions(home, THEN)
        assert vectors(home) == {key: [vector] for key, vector in final.items()}
        left = {path.name for path in folder_of(home).iterdir()} - {".lock", *files(home)}
        assert left == set()


def test_only_one_process_writes(home: Home) -> None:
    with writing(folder_of(home)) as held:
        assert held
        done = index_sessions(home, [session("s1", "css")])
    assert (done.held, done.embedded, files(home)) == (False, 0, [])


@pytest.mark.parametrize("damage", ["cut", "garbage", "flipped", "other"])
def test_a_damaged_file_is_told_with_its_remedy(home: Home, damage: str) -> None:
    index_sessions(home, [session("s1", "css")])
    (file,) = live_files(folder_of(home))
    content = file.path.read_bytes()
    if damage == "other":
        duckdb.sql("SELECT 1 AS batch").write_parquet(str(file.path))
    else:
        column = pq.ParquetFile(file.path).metadata.row_group(0).column(16)
        place = column.data_page_offset + column.total_compressed_size - 2
        flipped = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        file.path.write_bytes({"cut": content[:-9], "garbage": b"\0" * 99, "flipped": flipped}[damage])
    with pytest.raises(TokenLedgerError, match=r"x8\.parquet: cannot be read as vectors .* delete it"):
        index_of(home)
    file.path.unlink()
    assert index_sessions(home, [session("s1", "css")]).embedded == 1


def test_files_of_other_names_are_none_of_ours(home: Home) -> None:
    index_sessions(home, [session("s1", "css")])
    for name in ("notes.txt", "1-2-3x4.parquet", "0000000009-0000000009-1x8.parquet.tmp"):
        (folder_of(home) / name).write_bytes(b"x")
    assert index_sessions(home, [session("s1", "css"), session("s2", "docs")]).embedded == 1
    assert len(list(folder_of(home).iterdir())) == 6


# ------------------------------------------------------------------ the matrix that is kept


def test_the_matrix_is_kept_until_vectors_change(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    index_sessions(home, [session("s1", "css")])
    first = index_of(home)
    monkeypatch.setattr(vector_store, "live_rows", None)  # nothing may read the files again
    again = index_of(home)
    assert (again.keys, again.version, again.matrix.tolist()) == (first.keys, first.version, first.matrix.tolist())
    assert open_index(home, SHA, "fp32", again) is again
    monkeypatch.undo()
    index_sessions(home, [session("s2", "docs")])
    assert index_of(home).version != first.version
    assert len(list(cache_folder(home).iterdir())) == 2


@pytest.mark.parametrize("suffix", [".keys", ".f32"])
@pytest.mark.parametrize("content", [None, b"", b"\0" * 31, b"\xff" * 60, b"\0" * 64, b"\xff" * 64])
def test_a_damaged_matrix_is_made_again(home: Home, suffix: str, content: bytes | None) -> None:
    index_sessions(home, [session("s1", "css"), session("s2", "docs")])
    whole = index_of(home)
    path = (cache_folder(home) / whole.version).with_suffix(suffix)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert index_of(home).matrix.tolist() == whole.matrix.tolist()


def test_other_keys_than_were_written_are_made_again(home: Home) -> None:
    index_sessions(home, [session("s1", "css"), session("s2", "docs")])
    whole = index_of(home)
    path = (cache_folder(home) / whole.version).with_suffix(".keys")
    path.write_bytes(path.read_bytes().replace(b"s2", b"s3"))
    assert index_of(home).keys == whole.keys


def test_what_a_killed_search_left_of_a_matrix_goes_with_the_next_one(home: Home) -> None:
    index_sessions(home, [session("s1", "css")])
    (cache_folder(home) / ".0123.f32.99-99.tmp").write_bytes(b"\0" * 99)
    whole = index_of(home)
    assert {path.name for path in cache_folder(home).iterdir()} == {f"{whole.version}.f32", f"{whole.version}.keys"}


def test_a_cache_that_is_no_folder_still_answers(home: Home) -> None:
    index_sessions(home, [session("s1", "css")])
    index_of(home)
    for path in cache_folder(home).iterdir():
        path.unlink()
    cache_folder(home).rmdir()
    cache_folder(home).write_bytes(b"in the way")
    assert index_of(home).keys.session_ids == ["s1"]


# ------------------------------------------------------------------ as others read it


def test_duckdb_reads_vectors_as_arrays(home: Home) -> None:
    index_sessions(home, [session("s1", "flaky test"), session("s2", "css")])
    index_sessions(home, [session("s1", "parser"), session("s3", "docs " * 15)])
    with duckdb.connect() as con:
        rows = con.execute(
            f"""
            SELECT session_id, part, typeof(vector::FLOAT[8]),
              array_cosine_similarity(vector::FLOAT[8], ?::FLOAT[8])::DECIMAL(4, 3)
            FROM read_parquet('{folder_of(home)}/*.parquet')
            QUALIFY batch = max(batch) OVER (PARTITION BY client, session_id) ORDER BY ALL
            """,
            [Words().vector("docs parser").tolist()],
        ).fetchall()
    assert [(name, part, kind, float(score)) for name, part, kind, score in rows] == [
        ("s1", 1, "FLOAT[8]", 0.707),
        ("s2", 1, "FLOAT[8]", 0.0),
        ("s3", 1, "FLOAT[8]", 0.707),
        ("s3", 2, "FLOAT[8]", 0.707),
    ]


def test_every_row_says_who_answered(home: Home) -> None:
    index_sessions(home, [session("s1", "css " * 50, minutes=1)])
    with duckdb.connect() as con:
        found = con.execute(f"SELECT * EXCLUDE (vector, created_at) FROM '{folder_of(home)}/*.parquet'")
        names = [column[0] for column in found.description]
        rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    assert [*names, "created_at", "vector"] == list(vector_store.COLUMNS)
    digest = rows[0].pop("digest")
    assert len(digest) == 32 + 9
    assert rows[0] == {
        "batch": 1,
        "client": "claude-code",
        "session_id": "s1",
        "part": 1,
        "part_count": 4,
        "started_at": datetime(2026, 2, 18, 9, 1),
        "token_count": 12,
        "truncated": False,
        "model_sha256": SHA,
        "requested": "onnx",
        "actual": "numpy",
        "reason": "onnx: not installed",
        "precision": "fp32",
        "compute_unit": "a test's processor",
    }
    assert [row["truncated"] for row in rows] == [False, False, False, True]


def test_prompts_beyond_those_that_were_given_count_as_left_out(home: Home) -> None:
    longer = msgspec.structs.replace(session("s2", "css", "docs"), prompt_count=9)
    index_sessions(home, [session("s1", "css", "docs"), longer])
    with duckdb.connect() as con:
        rows = con.execute(f"SELECT session_id, truncated FROM '{folder_of(home)}/*.parquet' ORDER BY 1").fetchall()
    assert rows == [("s1", False), ("s2", True)]


def test_names_of_files_sort_by_batch() -> None:
    assert file_name(1, 12, 34, 384) == "0000000001-0000000012-34x384.parquet"
