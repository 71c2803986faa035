"""What is remembered between readings, what is kept of the words, and that nothing is read unless it may be."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from tests.clients.planted import KEY, MAIL, PROMPT, found_below
from tests.inference.prompts.goldens import KEEPING, READING, prompt_world, read, texts
from tests.support import World, claude, user
from tokenledger_dagster.governance.doctor import examine
from tokenledger_dagster.inference import switch
from tokenledger_dagster.inference.policy import load_policy
from tokenledger_dagster.inference.prompts import forget_texts, index, masking, session_prompts
from tokenledger_dagster.inference.prompts import texts as kept
from tokenledger_dagster.settings import load_settings


def digests(world: World) -> dict[tuple[str, str], str]:
    return {(one.client, one.session_id): one.digest for one in read(world)[0]}


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.claude(user("First words.", 1), claude(minutes=2), user("Second words.", 3))
    world.claude(user("Other words.", 5, "s2"), claude("m2", "r2", session="s2", minutes=6), name="s2.jsonl")
    return world


# ------------------------------------------------------------------ the switch


def test_nothing_is_read_unless_the_switch_says_so(world: World, tmp_path: Path) -> None:
    off = READING._replace(prompts=False)
    with pytest.raises(switch.InferenceOffError, match=r"reading what was typed is off; set `inference.prompts: true`"):
        session_prompts(world.ledger, world.environ, standing=off)
    with pytest.raises(switch.InferenceOffError, match=r"inference is off: no model in .*; run `make setup-inference`"):
        session_prompts(world.ledger, world.environ, settings=load_settings({"TOKENLEDGER_HOME": str(tmp_path)}))

    assert not world.ledger.prompts.exists()


# ------------------------------------------------------------------ reading again


def test_where_only_changes_are_asked_for_what_the_caller_has_is_counted_and_not_given(world: World) -> None:
    known = digests(world)
    world.append(world.claude_path("s2.jsonl"), user("More words.", 7, "s2"))

    found, report = read(world, known=known, changed_only=True)

    assert [(one.session_id, one.texts) for one in found] == [("s2", ["Other words.", "More words."])]
    assert (report.sessions, report.unchanged) == (1, 1)
    found, report = read(world, known=digests(world), changed_only=True)
    assert (found, report.sessions, report.unchanged) == ([], 0, 2)
    assert len(read(world, changed_only=True)[0]) == 2


def test_an_unchanged_file_is_not_opened_for_words_that_the_caller_has(world: World) -> None:
    known = digests(world)

    found, report = read(world, known=known)

    assert [(one.session_id, one.texts, one.prompt_count) for one in found] == [("s1", None, 2), ("s2", None, 1)]
    assert (report.files, report.files_read, report.bytes_read) == (2, 0, 0)
    assert {(one.client, one.session_id): one.digest for one in found} == known


def test_words_the_caller_lacks_are_read_again_out_of_their_own_file_alone(world: World) -> None:
    known = digests(world)
    del known["claude-code", "s2"]

    found, report = read(world, known=known)

    assert [(one.session_id, one.texts) for one in found] == [("s1", None), ("s2", ["Other words."])]
    assert report.files_read == 1


def test_a_session_that_goes_on_is_given_with_its_words(world: World) -> None:
    known = digests(world)
    world.append(world.claude_path("s2.jsonl"), user("More words.", 8, "s2"))

    found, report = read(world, known=known)

    assert [(one.session_id, one.texts) for one in found] == [("s1", None), ("s2", ["Other words.", "More words."])]
    assert report.files_read == 1


def test_equal_words_have_equal_digests_in_one_home_and_others_in_another(world: World, tmp_path: Path) -> None:
    other = World(tmp_path / "other")
    other.claude(user("First words.", 1), user("Second words.", 3))
    mine, theirs = digests(world), digests(other)

    (world.home_dir / ".claude/projects/-home-ada-code-tidepool/s1.jsonl").touch()

    assert digests(world) == mine
    assert mine["claude-code", "s1"] != theirs["claude-code", "s1"]


def test_only_the_first_prompts_of_a_session_are_given_and_later_ones_leave_its_digest(world: World) -> None:
    limit = load_policy().prompts.max_prompts
    for number in range(limit):
        world.append(world.claude_path(), user(f"Words {number}.", 10 + number))
    before = {one.session_id: one for one in read(world)[0]}["s1"]
    world.append(world.claude_path(), user("Beyond the limit.", 90))

    after = {one.session_id: one for one in read(world)[0]}["s1"]

    assert len(after.texts or ()) == limit
    assert (before.prompt_count, after.prompt_count) == (limit + 2, limit + 3)
    assert after.digest == before.digest


def test_a_long_prompt_is_cut(world: World) -> None:
    limit = load_policy().prompts.max_characters
    world.claude(user("word " * limit, 1, "s3"), name="s3.jsonl")

    (text,) = texts(world)["s3"] or ()

    assert text == ("word " * limit)[:limit].rstrip()


def test_a_log_that_is_gone_is_still_known_and_its_words_are_not(world: World) -> None:
    known = digests(world)
    world.claude_path("s2.jsonl").unlink()

    assert [(one.session_id, one.texts) for one in read(world, known=known)[0]] == [("s1", None), ("s2", None)]
    found, report = read(world)
    assert [one.session_id for one in found] == ["s1"]
    assert report.skipped["text_gone"] == 1


def test_what_is_read_beyond_the_memory_for_words_is_read_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = load_policy()
    small = msgspec.structs.replace(policy, prompts=msgspec.structs.replace(policy.prompts, max_held_bytes=200))
    monkeypatch.setattr("tokenledger_dagster.inference.prompts.collect.policy", lambda: small)

    found, report = read(world)

    assert {one.session_id: one.texts for one in found} == {
        "s1": ["First words.", "Second words."],
        "s2": ["Other words."],
    }
    assert report.files_read == 4


# ------------------------------------------------------------------ what is kept


def planted(world: World) -> World:
    world.claude(user(f"{PROMPT}: mail {MAIL} with {KEY}", 7, "s3"), name="s3.jsonl")
    return world


def test_no_word_is_kept_unless_it_is_asked_for(world: World) -> None:
    (said,) = texts(planted(world))["s3"] or ()

    assert said == f"{PROMPT}: mail [e-mail] with [api key]"
    assert found_below(world.ledger.root) == []
    assert [path.name for path in sorted(world.ledger.prompts.iterdir())] == ["index.sqlite", "key"]


def test_words_that_are_kept_need_no_second_reading_and_hold_no_secret(world: World) -> None:
    planted(world)
    read(world, KEEPING)

    found, report = read(world, KEEPING)

    assert {one.session_id: one.texts for one in found}["s1"] == ["First words.", "Second words."]
    assert report.files_read == 0
    assert found_below(world.ledger.root) == [PROMPT]
    world.claude_path("s2.jsonl").unlink()
    assert texts(world, standing=KEEPING)["s2"] == ["Other words."]


def test_switching_the_keeping_off_removes_the_words_and_says_so_once(world: World) -> None:
    read(planted(world), KEEPING)
    path = world.ledger.prompts / "texts.sqlite"

    problems = read(world)[1].problems

    assert problems == [f"{path}: the prompts kept there were removed, since `inference.store_prompts` is off"]
    assert found_below(world.ledger.root) == []
    assert read(world)[1].problems == []


def test_what_a_kill_left_of_kept_words_goes_too(world: World) -> None:
    read(planted(world), KEEPING)
    path = world.ledger.prompts / "texts.sqlite"
    path.rename(f"{path}-journal")

    assert forget_texts(world.ledger) is not None
    assert found_below(world.ledger.root) == []


def test_words_that_no_session_shows_any_more_are_not_kept(world: World) -> None:
    read(planted(world), KEEPING)
    world.claude(user("Rewritten.", 7, "s3"), name="s3.jsonl")

    assert texts(world, standing=KEEPING)["s3"] == ["Rewritten."]
    assert found_below(world.ledger.root) == []


def test_kept_words_of_a_log_that_is_gone_are_masked_by_new_patterns(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read(planted(world), KEEPING)
    world.claude_path("s3.jsonl").unlink()
    path = tmp_path / "secrets.csv"
    path.write_text(f"kind,needs,pattern,unless,example\nplanted,,{PROMPT},,\n")
    monkeypatch.setattr(masking, "PATH", path)
    masking.patterns.cache_clear()

    try:
        said = texts(world, standing=KEEPING)["s3"]
    finally:
        masking.patterns.cache_clear()

    assert said == ["[planted]: mail [e-mail] with [api key]"]
    assert found_below(world.ledger.root) == []


def test_kept_words_go_too_where_prompts_may_not_be_read_any_more(world: World) -> None:
    read(planted(world), KEEPING)

    with pytest.raises(switch.InferenceOffError):
        session_prompts(world.ledger, world.environ, standing=READING._replace(prompts=False))

    assert found_below(world.ledger.root) == []
    assert forget_texts(world.ledger) is None


def test_the_doctor_tells_of_words_that_are_not_to_be_kept(world: World) -> None:
    def told() -> list[str]:
        found = examine(world.ledger, world.environ, load_settings({"TOKENLEDGER_HOME": str(world.ledger.root)}))
        return [one.text for one in found if one.topic == "prompts"]

    assert told() == []
    read(world, KEEPING)

    (text,) = told()
    assert text.startswith(f"{world.ledger.prompts / 'texts.sqlite'} holds words you typed, which are not to be kept")
    read(world)
    assert told() == []


@pytest.mark.parametrize("mask", [0o000, 0o022])
def test_only_the_owner_can_read_what_is_remembered(world: World, mask: int) -> None:
    old = os.umask(mask)
    try:
        read(world, KEEPING)
    finally:
        os.umask(old)

    folder = world.ledger.prompts
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {"index.sqlite": 0o600, "key": 0o600, "texts.sqlite": 0o600}


# ------------------------------------------------------------------ trouble


@pytest.mark.parametrize("name", ["index.sqlite", "texts.sqlite", "key"])
def test_a_damaged_memory_is_made_anew(world: World, name: str) -> None:
    wanted = texts(world, standing=KEEPING)
    (world.ledger.prompts / name).write_bytes(b"no database at all " * 100)

    found, report = read(world, KEEPING)

    assert {one.session_id: one.texts for one in found} == wanted
    assert len(report.problems) == (name != "key")
    assert all(str(world.ledger.prompts / name) in problem for problem in report.problems)
    assert read(world, KEEPING)[1].problems == []


def test_another_process_that_holds_on_is_told_and_all_is_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = texts(world)
    monkeypatch.setattr(index, "_WAIT_SECONDS", 0.01)
    with closing(sqlite3.connect(world.ledger.prompts / "index.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")

        found, report = read(world)

    assert {one.session_id: one.texts for one in found} == wanted
    (problem,) = report.problems
    assert "index.sqlite cannot be used now (database is locked)" in problem


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_home_that_cannot_be_written_is_read_without_being_remembered(world: World) -> None:
    world.ledger.root.chmod(0o500)
    try:
        found, report = read(world)
    finally:
        world.ledger.root.chmod(0o700)

    assert len(found) == 2
    assert len(report.problems) == 2


def many(world: World, count: int = 150) -> World:
    for number in range(count):
        rows = (user(f"Words {number} {place}.", place, f"m{number}") for place in range(4))
        world.claude(*rows, name=f"m{number}.jsonl")
    return world


@pytest.mark.slow
@pytest.mark.parametrize("name", ["index.sqlite", "texts.sqlite"])
@pytest.mark.parametrize("part", [0.2, 0.5, 0.99])
def test_damage_within_a_memory_is_told_once_and_heals(world: World, name: str, part: float) -> None:
    wanted = texts(many(world), standing=KEEPING)
    path = world.ledger.prompts / name
    content = bytearray(path.read_bytes())
    start = int(part * (len(content) // 4096)) * 4096
    content[start : start + 4096] = b"\xa5" * 4096
    path.write_bytes(content)
    for log in world.claude_path().parent.iterdir():
        os.utime(log)

    found, report = read(world, KEEPING)

    assert {one.session_id: one.texts for one in found} == wanted
    assert (len(found), report.sessions) == (len(wanted), len(wanted))
    assert ["was damaged; it" in problem for problem in report.problems] == [True]
    again, report = read(world, KEEPING)
    assert ({one.session_id: one.texts for one in again}, report.problems) == (wanted, [])


def test_words_that_cannot_be_kept_now_are_given(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    read(world, KEEPING)
    monkeypatch.setattr(kept, "_WAIT_SECONDS", 0.01)
    world.claude(user("New words.", 7, "s3"), name="s3.jsonl")
    with closing(sqlite3.connect(world.ledger.prompts / "texts.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        found, report = read(world, KEEPING)

    assert {one.session_id: one.texts for one in found}["s3"] == ["New words."]
    (problem,) = report.problems
    assert "texts.sqlite cannot be used any more (database is locked)" in problem


def test_a_full_disk_stops_no_reading(world: World) -> None:
    wanted = texts(many(world))
    shutil.rmtree(world.ledger.prompts)
    program = f"""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from pathlib import Path
from tests.inference.prompts.goldens import KEEPING, read
from tests.support import World
world = World(Path({str(world.home_dir.parent)!r}))
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, resource.RLIM_INFINITY))
found, report = read(world, KEEPING)
print(len(found), sum(len(one.texts or ()) for one in found), len(report.problems))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (done.stdout.split(), done.stderr) == ([str(len(wanted)), str(sum(map(len, wanted.values()))), "1"], "")


def test_of_two_that_begin_at_once_one_makes_the_key(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    real, asked = index._key_in, list[Path]()

    def late(path: Path) -> bytes | None:
        asked.append(path)
        if len(asked) > 1:
            return real(path)
        monkeypatch.setattr(index, "_key_in", real)
        made.append(index.load_key(world.ledger)[0])  # the other one, between a look and the making
        return None

    made: list[bytes] = []
    monkeypatch.setattr(index, "_key_in", late)

    assert index.load_key(world.ledger) == (made[0], None)
    assert index.load_key(world.ledger) == (made[0], None)
    assert [path.name for path in world.ledger.prompts.iterdir()] == ["key"]


UNPRIVILEGED = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
"""Takes from root what lets it pass over modes."""


@pytest.mark.parametrize("mode", [0o500, 0o000])
def test_a_folder_that_cannot_be_used_stops_nothing(world: World, mode: int) -> None:
    read(world)
    program = f"""
from pathlib import Path
from tests.inference.prompts.goldens import KEEPING, READING, read
from tests.support import World
world = World(Path({str(world.home_dir.parent)!r}))
print(*(len(read(world, standing)[0]) for standing in (KEEPING, READING)))
"""
    prefix = UNPRIVILEGED if os.geteuid() == 0 else ()
    if prefix and shutil.which(prefix[0]) is None:
        pytest.skip("root may write everywhere, and setpriv is not installed")
    world.ledger.prompts.chmod(mode)
    try:
        done = subprocess.run([*prefix, sys.executable, "-c", program], capture_output=True, text=True, check=False)
    finally:
        world.ledger.prompts.chmod(0o700)

    assert (done.stdout.split(), done.stderr) == (["2", "2"], "")


def test_a_file_in_the_folders_place_is_told(world: World) -> None:
    world.ledger.prompts.parent.mkdir()
    world.ledger.prompts.write_text("")

    found, report = read(world)

    assert len(found) == 2
    assert all(str(world.ledger.prompts) in problem for problem in report.problems)
    assert len(report.problems) == 2


def test_a_locked_or_damaged_database_is_told_and_read_when_it_can_be(tmp_path: Path) -> None:
    world = prompt_world("goose", tmp_path)
    (database,) = world.home_dir.rglob("sessions.db")
    good = database.read_bytes()
    wanted = texts(world)

    database.write_bytes(b"SQLite format 3\x00" + b"\xff" * 5_000)
    found, report = read(world)

    # what it showed before is known, and its words are not to be had
    assert {one.session_id: one.texts for one in found} == {
        "20251101_050000": ["What grows at ten metres?", "And deeper?"]
    }
    assert report.skipped["text_gone"] == 2
    assert len(report.problems) == 1
    assert str(database) in report.problems[0]
    database.write_bytes(good)
    assert texts(world) == wanted


def test_a_file_that_vanishes_meanwhile_stops_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from tokenledger_dagster.inference.prompts import collect

    real = collect.discovery.find

    def find(*arguments: object) -> object:
        found = real(*arguments)  # type: ignore[arg-type]
        world.claude_path("s1.jsonl").unlink(missing_ok=True)
        return found

    monkeypatch.setattr(collect.discovery, "find", find)

    found, report = read(world)

    assert [one.session_id for one in found] == ["s2"]
    assert report.skipped["unreadable_file"] == 1
    assert "s1.jsonl: FileNotFoundError" in report.problems[0]


def test_a_caller_that_takes_one_session_leaves_all_remembered(world: World) -> None:
    given = session_prompts(world.ledger, world.environ, standing=READING)
    assert next(given).session_id == "s1"
    given.close()  # type: ignore[attr-defined]

    assert read(world, known=digests(world))[1].files_read == 0
