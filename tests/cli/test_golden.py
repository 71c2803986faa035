"""`tokenledger bench golden`: what it prints, where it prints it, and how it exits."""

from __future__ import annotations

import json
import shutil
from copy import deepcopy
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.support import World, claude
from tokenledger_dagster.contracts.golden import Scenario
from tokenledger_dagster.governance import golden_sample
from tokenledger_dagster.governance.golden import GOLDEN_SAMPLE, count_figures, lock_path, read_sample


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> dict[str, Scenario]:
    """What the sample is made to give: at first what is locked."""
    found = read_sample(GOLDEN_SAMPLE)
    assert found is not None
    own = deepcopy(found.scenarios)
    monkeypatch.setattr(golden_sample, "sample_scenarios", lambda: own)
    return own


@pytest.fixture
def golden(tmp_path: Path) -> str:
    return str(shutil.copy(GOLDEN_SAMPLE, tmp_path / "sample.json"))


# ------------------------------------------------------------------ the sample


def test_verify_passes_on_the_locked_figures(run: Run, figures: dict[str, Scenario]) -> None:
    ran = run("bench", "golden", "verify")

    assert (ran.code, ran.err) == (0, "")
    assert ran.out.endswith("figures of the sample are the locked ones\n")


def test_verify_exits_1_with_a_readable_diff(run: Run, figures: dict[str, Scenario], golden: str) -> None:
    figures["report.daily"]["2026-08-20"]["total_tokens"] = 52_767

    ran = run("bench", "golden", "verify", "--golden", golden)

    assert ran.code == 1
    lines = ran.out.splitlines()
    assert lines[0] == f"1 of {count_figures(figures):,} figures of the sample differ: {golden}"
    assert lines[2].split() == ["Scenario", "Row", "Figure", "What", "Expected", "Actual", "Delta"]
    assert lines[4].split() == ["report.daily", "2026-08-20", "total_tokens", "52766", "52767", "+1"]
    assert lines[-1] == "if this is right: `tokenledger bench golden lock --accept`, and commit it"


def test_json_and_markdown_say_the_same(run: Run, figures: dict[str, Scenario], golden: str) -> None:
    figures["report.daily"]["2026-08-20"]["total_tokens"] = 52_767

    told = run("bench", "golden", "verify", "--golden", golden, "--format", "json").json
    markdown = run("bench", "golden", "verify", "--golden", golden, "--format", "markdown").out
    table = run("bench", "golden", "verify", "--golden", golden, "--format", "csv").out

    assert (told["schema_version"], told["kind"], told["passed"]) == (1, "sample", False)
    assert [(one["figure"], one["delta"]) for one in told["differences"]] == [("total_tokens", 1)]
    assert "| report.daily | 2026-08-20 | total_tokens |  | 52766 | 52767 | +1 |\n" in markdown
    assert table.splitlines()[1] == "report.daily,2026-08-20,total_tokens,,52766,52767,+1"


def test_a_new_scenario_says_what_to_run(run: Run, figures: dict[str, Scenario], golden: str) -> None:
    figures["report.new"] = {"a": {"total_tokens": 1}}

    ran = run("bench", "golden", "verify", "--golden", golden)

    assert ran.code == 1
    assert ran.out.splitlines()[-1] == "must be locked: run `tokenledger bench golden lock`"
    locked = run("bench", "golden", "lock", "--golden", golden)
    assert (locked.code, locked.out) == (0, f"locked in {golden}\n  report.new\n")
    assert run("bench", "golden", "verify", "--golden", golden).code == 0


def test_lock_shows_the_diff_and_waits_for_accept(run: Run, figures: dict[str, Scenario], golden: str) -> None:
    del figures["report.block"]

    refused = run("bench", "golden", "lock", "--golden", golden)
    accepted = run("bench", "golden", "lock", "--golden", golden, "--accept")

    assert refused.code == 1
    assert "scenario is gone" in refused.out
    assert refused.err.endswith("locked figures would change; look at them, then give --accept\n")
    assert accepted.code == 0
    assert run("bench", "golden", "verify", "--golden", golden).code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("verify", "--epsilon", "-1"), "--epsilon -1: write an amount of USD"),
        (("verify", "--epsilon", "much"), "--epsilon much: write an amount of USD"),
        (("verify", "--epsilon", "NaN"), "--epsilon NaN: write an amount of USD"),
        (("verify", "--golden", "/"), "--golden /: is a folder"),
        (("verify", "--closed", "--golden", "x"), "--golden names the file of the sample"),
        (("lock", "--month", "2026-02"), "--month is about closed months"),
        (("lock", "--closed", "--month", "2026-2"), "--month 2026-2: write it as 2026-02"),
    ],
)
def test_what_cannot_be_asked_is_told_in_one_line(run: Run, arguments: tuple[str, ...], said: str) -> None:
    ran = run("bench", "golden", *arguments)

    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(("content", "said"), [(None, "is not there"), (b"{", "is no golden file")])
def test_a_golden_that_cannot_be_used_exits_4(run: Run, tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "g.json"
    if content is not None:
        path.write_bytes(content)

    ran = run("bench", "golden", "verify", "--golden", str(path))

    assert (ran.code, ran.out) == (4, "")
    assert said in ran.err
    assert ran.err.count("\n") == 1


# ------------------------------------------------------------------ closed months


def test_closed_months_from_lock_to_accept(run: Run, world: World) -> None:
    assert run("bench", "golden", "verify", "--closed").code == 3
    first = run("bench", "golden", "lock", "--closed")
    again = run("bench", "golden", "lock", "--closed")
    world.append(world.claude_path(), claude("m9", "r9", input=5, output=5, timestamp="2026-02-20T09:00:00Z"))
    told = run("bench", "golden", "verify", "--closed")
    stale = run("bench", "golden", "verify", "--closed", "--no-sync", "--format", "json").json
    accepted = run("bench", "golden", "lock", "--closed", "--accept")

    path = lock_path(world.ledger)
    assert (first.code, first.out) == (0, f"locked in {path}\n  2026-02, 2026-03\n")
    assert again.out == "nothing to lock: all 33 figures of the locked months are the locked ones\n"
    assert told.code == 1
    assert "1 event came: new rows of a known log tell of this month [log_grew] (+10 tokens, " in told.out
    assert stale["months"][0]["causes"][0]["events"][0]["place"] == str(world.claude_path())
    assert (accepted.code, accepted.out.splitlines()[:2]) == (0, [f"locked in {path}", "  2026-02"])
    assert run("bench", "golden", "verify", "--closed").code == 0


def test_one_month_can_be_locked_alone(run: Run) -> None:
    assert run("bench", "golden", "lock", "--closed", "--month", "2026-03").code == 0

    told = run("bench", "golden", "verify", "--closed")

    assert told.code == 0
    assert "closed and not locked: 2026-02; `tokenledger bench golden lock --closed` locks them" in told.out


def test_nothing_to_lock_exits_3(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("bench", "golden", "lock", "--closed", "--month", "2026-01").code == 3
    monkeypatch.setenv("TOKENLEDGER_MONTH_CLOSES_AFTER_DAYS", "366")
    assert run("bench", "golden", "lock", "--closed").code == 3


def test_a_home_that_was_never_filled_exits_3(run: Run) -> None:
    assert run("bench", "golden", "lock", "--closed", "--no-sync").code == 3


def test_a_damaged_lock_exits_4(run: Run, world: World) -> None:
    run("bench", "golden", "lock", "--closed")
    path = lock_path(world.ledger)
    path.write_text(json.dumps({"schema_version": 1}))

    ran = run("bench", "golden", "verify", "--closed")

    assert (ran.code, ran.out) == (4, "")
    assert f"{path}: is no golden file" in ran.err
