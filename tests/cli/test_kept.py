"""A JSON report that was printed before is printed again while nothing changes: the same bytes, never older ones."""

from __future__ import annotations

import re
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


@pytest.mark.parametrize("damage", [b"", b"\n", b"x\n", b"0 1\n", b"0 9999999\n{}", b"\x00" * 100])
def test_what_is_damaged_is_made_anew(asked: str, world: World, run: Run, damage: bytes) -> None:
    (answer,) = answers(world)
    answer.write_bytes(damage)

    assert timeless(run(*ASKED).out) == asked
    assert answer.read_bytes() != damage


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


@pytest.mark.parametrize("damage", [b"", b"x", b"0" * 32 + b"\n{}"])
def test_a_damaged_one_is_made_anew(asked: str, world: World, run: Run, damage: bytes) -> None:
    answers(world)[0].write_bytes(damage)

    assert timeless(run(*ASKED).out) == asked


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
