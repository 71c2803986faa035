"""A JSON report that was printed before is printed again while nothing changes: the same bytes, never older ones."""

from __future__ import annotations

import gc
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.support import World, claude
from tokenledger_dagster.cli import kept, report
from tokenledger_dagster.ingest.manifest import connect, transaction

REPOSITORY = Path(__file__).resolve().parents[2]
ASKED = ("report", "daily", "--json")


def timeless(text: str) -> str:
    return re.sub(r'"generated_at": "[^"]*"', "", text)


def answers(world: World) -> list[Path]:
    return sorted((world.ledger.root / "answers").glob("*.json"))


@pytest.fixture
def asked(world: World, run: Run, monkeypatch: pytest.MonkeyPatch) -> str:
    """A report of two requests that has been printed, and kept, once."""
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("TOKENLEDGER_TIMEZONE", raising=False)
    world.claude(claude("m1", "r1"), claude("m2", "r2", minutes=1), name="a.jsonl")
    assert run("sync").code == 0
    first = run(*ASKED)
    assert first.code == 0
    assert len(answers(world)) == 1
    return timeless(first.out)


def test_it_is_printed_again_without_being_made(asked: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "report_document", None)

    again = run(*ASKED)

    assert (again.code, timeless(again.out)) == (0, asked)
    assert re.search(r'"generated_at": "20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ"', again.out)


def test_the_manifest_is_not_even_opened(asked: str) -> None:
    code = (
        "import sys; from tokenledger_dagster.cli.main import main\n"
        f"code = main({list(ASKED)!r})\n"
        "heavy = [name for name in ('sqlite3', '_sqlite3', 'functools', 'datetime') if name in sys.modules]\n"
        "print(heavy, code, file=sys.stderr)"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=60)

    assert (timeless(found.stdout), found.stderr.strip()) == (asked, "[] 0")


def test_new_rows_are_told(asked: str, world: World, run: Run) -> None:
    world.claude(claude("m3", "r3", minutes=2), name="b.jsonl")

    assert '"event_count": 3' in run(*ASKED).out
    assert '"event_count": 3' in run(*ASKED).out


def test_any_commit_voids_it(asked: str, world: World, run: Run) -> None:
    manifest = connect(world.ledger)
    with transaction(manifest):
        manifest.execute("UPDATE cells SET output_tokens = output_tokens + 1000")
    manifest.close()

    assert timeless(run(*ASKED).out) != asked


@pytest.mark.parametrize(
    "other", [("report", "monthly", "--json"), (*ASKED, "--client", "claude"), (*ASKED, "--order", "desc")]
)
def test_other_questions_have_answers_of_their_own(asked: str, world: World, run: Run, other: tuple[str, ...]) -> None:
    assert timeless(run(*other).out) != asked or "desc" in other
    assert len(answers(world)) == 2


@pytest.mark.parametrize("damage", [b"", b"\n", b"x", b"0" * 32 + b"\n{}", b"0 9999999\n{}", b"\x00" * 100])
def test_a_damaged_one_is_made_anew(asked: str, world: World, run: Run, damage: bytes) -> None:
    answers(world)[0].write_bytes(damage)

    assert timeless(run(*ASKED).out) == asked
    assert answers(world)[0].read_bytes() != damage


@pytest.mark.parametrize("more", [-60, -1, 1, 60, 10**6, 10**7])
def test_a_wrong_size_in_its_head_is_damage(asked: str, world: World, run: Run, more: int) -> None:
    (answer,) = answers(world)
    digest, _, rest = answer.read_bytes().partition(b" ")
    size, _, told = rest.partition(b"\n")
    length = "9" * 5_000 if more > 10**6 else str(int(size) + more)
    answer.write_bytes(digest + b" " + length.encode() + b"\n" + told)

    assert timeless(run(*ASKED).out) == asked


def test_a_commit_that_is_written_but_does_not_count_yet_is_no_state_to_keep_an_answer_under(
    asked: str, world: World
) -> None:
    manifest = connect(world.ledger)
    with transaction(manifest):
        manifest.execute("UPDATE cells SET output_tokens = output_tokens + 1000")
    before = kept._state(str(world.ledger.root))
    index = world.ledger.manifest_path.with_name("manifest.sqlite-shm")
    told = bytearray(index.read_bytes())
    told[8] += 1  # the number of the last change that counts
    index.write_bytes(told)

    assert kept._state(str(world.ledger.root)) != before
    manifest.close()


def test_a_manifest_behind_a_link_is_told_by_the_files_beside_it(
    asked: str, world: World, run: Run, tmp_path: Path
) -> None:
    link, real = world.ledger.manifest_path, tmp_path / "elsewhere.sqlite"
    shutil.move(link, real)
    link.symlink_to(real)
    holder = connect(world.ledger)
    before = timeless(run(*ASKED).out)
    with transaction(holder):
        holder.execute("UPDATE cells SET output_tokens = output_tokens + 1000")

    assert timeless(run(*ASKED).out) != before
    holder.close()


def test_other_plans_of_the_same_size_and_time_are_other_plans(asked: str, world: World, run: Run) -> None:
    def plans(until: str) -> str:
        subscription = f"{{name: max, plan: anthropic/max-20x, from: 2026-02-01, to: {until}}}"
        return f"schema_version: 1\nsubscriptions:\n  - {subscription}\n"

    found = []
    for until in ("2026-04-01", "2026-03-01"):
        other = world.ledger.plans_path.with_name("other.yaml")
        other.write_text(plans(until))
        os.utime(other, ns=(10**18, 10**18))
        other.replace(world.ledger.plans_path)
        found.append(timeless(run(*ASKED).out))

    assert len({asked, *found}) == 3


def test_a_source_may_be_called_as_the_time_is_told(asked: str, world: World, run: Run, tmp_path: Path) -> None:
    extra = tmp_path / '"generated_at": "x'
    World.write(extra / "x.jsonl", claude("m3", "r3", minutes=3))
    assert run("sync", "--source", f"claude-code={extra}").code == 0
    first, again = run(*ASKED), run(*ASKED)

    assert timeless(again.out) == timeless(first.out) != asked


def test_a_caller_collects_garbage_as_before(asked: str, run: Run) -> None:
    gc.enable()
    run(*ASKED)

    assert gc.isenabled()


def test_only_some_are_kept(asked: str, world: World, run: Run) -> None:
    for day in range(1, kept.MOST + 5):
        run("report", "daily", "--json", "--until", f"2026-03-{day:02}")

    assert len(answers(world)) == kept.MOST


def test_a_home_that_takes_none_reports_all_the_same(asked: str, world: World, run: Run) -> None:
    folder = world.ledger.root / "answers"
    for path in answers(world):
        path.unlink()
    folder.rmdir()
    folder.write_text("in the way")

    assert timeless(run(*ASKED).out) == asked
