"""`tokenledger pricing`: what its actions print, write and exit with."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.cli.conftest import Ran, Run
from tests.support import World, claude, plain_environ
from tokenledger_dagster.cli.pricing import ACTIONS

BOOK = b'{"meta": {"source": "us", "updated_at": "2026-03-09T00:00:00Z"}, "providers": {}}'
GIVEN = (
    '{"providers": {"claude": {"models": {"acme-coder-9": {"input_usd_per_mtok": 2.50, "output_usd_per_mtok": 8}}}}}'
)
LIST = {
    "claude-sonnet-4-5": {
        "mode": "chat",
        "litellm_provider": "anthropic",
        "input_cost_per_token": 3e-6,
        "output_cost_per_token": 1.5e-5,
    }
}


@pytest.fixture(autouse=True)
def zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")


@pytest.fixture
def patch(tmp_path: Path) -> Path:
    path = tmp_path / "patch.json"
    path.write_text(GIVEN)
    return path


# -------------------------------------------------------------------- help


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_explains_itself(run: Run, action: str) -> None:
    shown = run("pricing", action, "--help")

    assert shown.code == 0
    assert f"tokenledger pricing {action}" in shown.out
    assert "examples:" in shown.out or action == "reprice"
    assert "exit codes:" in shown.out


def test_an_action_has_to_be_named(run: Run) -> None:
    assert run("pricing").code == 2
    assert run("pricing", "invent").code == 2


def test_neither_dagster_nor_pandas_is_imported(world: World) -> None:
    code = (
        "import sys; from tokenledger_dagster.cli.main import main; code = main(['pricing', 'check']);"
        "bad = {'dagster', 'pandas'} & set(sys.modules); sys.exit(f'{code} {bad}')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=plain_environ(world.home_dir, world.ledger.root),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr.splitlines()[-1] == "1 set()"


# -------------------------------------------------------------------- check and coverage


def test_check_fails_where_a_request_has_no_price(run: Run) -> None:
    found = run("pricing", "check")

    assert (found.code, found.err) == (1, "")
    assert found.out == "failed: 1 of 1 requests of 2026-03 have no price\n  claude:acme-coder-9 (events=1)\n"
    assert run("pricing", "check", "--allow-unpriced").code == 0
    assert run("pricing", "check", "--month", "2026-02").out == "passed: all 3 requests of 2026-02 have a price\n"


def test_check_as_json(run: Run) -> None:
    found = run("pricing", "check", "--format", "json")

    document = found.json
    assert document.pop("generated_at").endswith("Z")
    assert len(document.pop("price_snapshot_id")) == 16
    assert found.code == 1
    assert document == {
        "schema_version": 1,
        "timezone": "UTC",
        "passed": False,
        "month": "2026-03",
        "priced_count": 0,
        "unpriced_count": 1,
        "details": ["claude:acme-coder-9 (events=1)"],
    }


def test_check_judges_by_todays_book_and_says_that_nobody_accepted_it(world: World, run: Run, patch: Path) -> None:
    world.sync()
    world.ledger.pricing_book_path.write_text(GIVEN)

    found = run("pricing", "check", "--no-sync")

    assert (found.code, found.out) == (0, "passed: all 1 requests of 2026-03 have a price\n")
    assert found.err == (
        "judged by today's prices, which this ledger has not accepted; see `tokenledger pricing reprice`\n"
    )
    assert run("report", "monthly", "--no-sync", "--format", "json").json["totals"]["unpriced_count"] == 1


def test_a_book_that_cannot_be_read_is_named(world: World, run: Run) -> None:
    world.ledger.pricing_book_path.write_text('{"providers": 7}')

    found = run("pricing", "check")

    assert found.code == 4
    assert f"tokenledger pricing: {world.ledger.pricing_book_path}: is no pricing book" in found.err.splitlines()[-1]


@pytest.mark.parametrize("action", ["check", "coverage", "reconcile"])
def test_months_without_events_and_what_is_no_month(run: Run, action: str) -> None:
    nothing = run("pricing", action, "--month", "2020-01")
    wrong = run("pricing", action, "--month", "soon")
    latest = run("pricing", action, "--month", "9999-12")

    assert (nothing.code, nothing.out) == (3, "")
    assert nothing.err.startswith("tokenledger pricing: no events for 2020-01;")
    assert (wrong.code, wrong.err) == (2, "tokenledger pricing: --month soon: no such month; write YYYY-MM\n")
    assert latest.code == 2


@pytest.mark.parametrize("action", ["check", "coverage", "reconcile"])
def test_an_empty_home_has_nothing_to_report(run: Run, action: str) -> None:
    found = run("pricing", action, "--no-sync")

    assert (found.code, found.out) == (3, "")
    assert "no events yet" in found.err


def test_coverage_shows_what_is_missing(run: Run) -> None:
    found = run("pricing", "coverage")

    assert (found.code, found.err) == (0, "")
    assert found.out.splitlines()[2:] == [
        "claude    acme-coder-9  acme-coder-9  standard  unknown_model  2026-03-08       1     330",
        "0 of 1 requests of 2026-03 (UTC) have a price; 1 with 330 of 330 tokens have none",
    ]


def test_coverage_as_json_is_the_report(world: World, run: Run) -> None:
    world.ledger.pricing_book_path.write_bytes(BOOK)

    document = run("pricing", "coverage", "--json").json

    assert (document["schema_version"], document["month"], document["timezone"]) == (1, "2026-03", "UTC")
    assert document["pricing"] == str(world.ledger.pricing_book_path)
    assert document["missing_models_by_provider"]["claude"][0]["model_raw"] == ["acme-coder-9"]


def test_coverage_writes_patch_and_events(run: Run, tmp_path: Path) -> None:
    files = tmp_path / "patch.json", tmp_path / "events.jsonl"

    found = run("pricing", "coverage", "--write-patch", str(files[0]), "--write-unpriced-events", str(files[1]))

    assert found.err.splitlines() == [
        f"wrote 1 events without a price to {files[1]}",
        f"wrote {files[0]}; fill in its rates, then `tokenledger pricing apply` it",
    ]
    assert list(json.loads(files[0].read_bytes())["providers"]["claude"]["models"]) == ["acme-coder-9"]
    assert [json.loads(line)["model"] for line in files[1].read_text().splitlines()] == ["acme-coder-9"]
    assert run("pricing", "apply", str(files[0])).code == 0


# -------------------------------------------------------------------- apply


def test_apply_tries_first(world: World, run: Run, patch: Path) -> None:
    world.ledger.pricing_book_path.write_bytes(BOOK)
    path = world.ledger.pricing_book_path

    for more in ([], ["--dry-run"]):
        found = run("pricing", "apply", str(patch), *more)
        assert (found.code, found.err) == (0, "")
        assert found.out == (
            "providers added: claude\nmodels added: claude:acme-coder-9\n"
            f"not written: this was a dry run; --write changes {path}\n"
        )
    assert path.read_bytes() == BOOK
    assert sorted(one.name for one in world.ledger.root.iterdir()) == ["home.json", "pricing.json"]


def test_apply_writes_keeps_the_old_book_and_says_what_is_left_to_do(world: World, run: Run, patch: Path) -> None:
    world.ledger.pricing_book_path.write_bytes(BOOK)

    found = run("pricing", "apply", str(patch), "--write", "--format", "json")

    document = found.json
    backup = Path(document["backup_path"])
    assert (document["changed"], document["wrote_pricing"], document["dry_run"]) == (True, True, False)
    assert document["summary"]["models_added"] == ["claude:acme-coder-9"]
    assert (backup.parent, backup.read_bytes()) == (world.ledger.root, BOOK)
    assert found.err == "booked prices stay as they are; `tokenledger pricing reprice` shows what this changes\n"
    assert b'"input_usd_per_mtok": 2.50' in world.ledger.pricing_book_path.read_bytes()
    assert run("pricing", "check").code == 0


def test_apply_keeps_no_backup_where_none_is_wanted(world: World, run: Run, patch: Path) -> None:
    world.ledger.pricing_book_path.write_bytes(BOOK)

    found = run("pricing", "apply", str(patch), "--write", "--no-backup")

    assert found.out.endswith(f"wrote {world.ledger.pricing_book_path}\n")
    assert list(world.ledger.root.glob("*.bak")) == []


def test_apply_leaves_existing_rates_unless_it_may_replace_them(world: World, run: Run, patch: Path) -> None:
    world.ledger.pricing_book_path.write_text(GIVEN.replace("2.50", "9"))

    left = run("pricing", "apply", str(patch), "--write")
    replaced = run("pricing", "apply", str(patch), "--write", "--allow-overwrite-model-rates")

    assert left.out.startswith("models left as they are: claude:acme-coder-9\nnothing changes")
    assert replaced.out.startswith("models whose rates were replaced: claude:acme-coder-9\nwrote")


def one_line(found: Ran, name: str) -> None:
    assert (found.code, found.out) == (4, "")
    (line,) = found.err.splitlines()
    assert name in line


@pytest.mark.parametrize(
    "content",
    [b"oops", b'{"providers": {"claude": {"models": {"m": {"input_usd_per_mtok": NaN}}}}}', b"[1]", b" " * (10 << 20)],
    ids=["text", "NaN", "list", "10 MB"],
)
def test_a_hostile_patch_is_refused_in_one_line(world: World, run: Run, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "hostile.json"
    path.write_bytes(content)

    one_line(run("pricing", "apply", str(path), "--write"), str(path))

    assert not world.ledger.pricing_book_path.exists()


def test_a_patch_that_is_not_there_is_named(run: Run, tmp_path: Path) -> None:
    one_line(run("pricing", "apply", str(tmp_path / "none.json")), "none.json")
    one_line(run("pricing", "apply", str(tmp_path)), str(tmp_path))


# -------------------------------------------------------------------- reconcile


def test_reconcile_tries_the_patch_and_fails_as_long_as_rates_are_unknown(world: World, run: Run) -> None:
    found = run("pricing", "reconcile", "--write")

    assert (found.code, found.err) == (1, "")
    assert found.out.splitlines()[-3:-1] == [
        "with the book as patched: failed: 1 of 1 requests of 2026-03 have no price",
        "  claude:acme-coder-9 (events=1)",
    ]
    assert run("pricing", "check").code == 1
    assert run("pricing", "reconcile", "--allow-unpriced").code == 0


def test_reconcile_as_json_is_the_summary(world: World, run: Run, tmp_path: Path) -> None:
    found = run("pricing", "reconcile", "--workdir", str(tmp_path / "work"), "--format", "json")

    assert found.json == json.loads(world.ledger.reconcile_summary_path.read_bytes())
    assert Path(found.json["workdir"]).parent == tmp_path / "work"
    assert (found.json["dry_run"], found.json["pricing_check"]["passed"]) == (True, False)


# -------------------------------------------------------------------- lint, audit


@pytest.mark.parametrize("action", ["lint", "audit"])
def test_without_a_book_the_built_in_list_is_judged(world: World, run: Run, action: str) -> None:
    found = run("pricing", action)

    path = world.ledger.pricing_book_path
    assert (found.code, found.err) == (0, f"there is no {path}: prices are those of the built-in list\n")
    assert found.out.splitlines()[-1].startswith("passed: config/rates.csv, 0 errors")
    document = run("pricing", action, "--json").json
    assert (document["schema_version"], document["pricing"], document["passed"]) == (1, "config/rates.csv", True)


def test_a_stale_built_in_list_is_told_and_passes(run: Run) -> None:
    found = run("pricing", "audit", "--max-age-days", "-100000")

    assert found.code == 0
    assert "[price_list_stale]" in found.out


def test_lint_fails_on_an_error_and_names_its_place(world: World, run: Run) -> None:
    world.ledger.pricing_book_path.write_text(GIVEN.replace("2.50", "-1"))

    found = run("pricing", "lint")

    assert found.code == 1
    assert "providers.claude.models.acme-coder-9.input_usd_per_mtok" in found.out
    assert found.out.splitlines()[-1].startswith(f"failed: {world.ledger.pricing_book_path}, 1 errors")


def test_audit_fails_on_an_old_book_unless_that_is_allowed(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_bytes(BOOK.replace(b"2026-03-09", b"2020-03-09"))

    assert run("pricing", "audit", str(path)).code == 1
    assert run("pricing", "audit", str(path), "--allow-stale").code == 0
    assert run("pricing", "audit", str(path), "--max-age-days", "100000").code == 0


def test_a_named_book_has_to_exist(run: Run, tmp_path: Path) -> None:
    for action in ("lint", "audit"):
        one_line(run("pricing", action, str(tmp_path / "none.json")), "none.json")


# -------------------------------------------------------------------- imported lists


def test_a_list_is_imported_and_shown(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_text(json.dumps(LIST))

    nothing = run("pricing", "lists")
    imported = run("pricing", "import", "litellm", "--from", str(path))
    listed = run("pricing", "lists", "--format", "json")

    assert (nothing.code, nothing.out) == (3, "")
    assert imported.code == 0
    assert imported.err == "booked prices stay as they are; `tokenledger pricing reprice` shows what this changes\n"
    assert [(one["source"], one["origin"], one["rows"]) for one in listed.json["lists"]] == [("litellm", str(path), 1)]
    assert "litellm" in run("pricing", "lists").out


def test_a_list_that_is_none_is_named(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_text("[]")

    one_line(run("pricing", "import", "litellm", "--from", str(path)), str(path))
    assert run("pricing", "import", "invented").code == 2


# -------------------------------------------------------------------- reprice


def test_reprice_shows_and_accepts_what_a_patch_changed(world: World, run: Run, patch: Path) -> None:
    world.sync()
    assert run("pricing", "apply", str(patch), "--write").code == 0

    shown, accepted = run("pricing", "reprice"), run("pricing", "reprice", "--write")

    assert (shown.code, accepted.code) == (0, 0)
    assert "acme-coder-9" in shown.out
    assert run("report", "monthly", "--format", "json").json["totals"]["unpriced_count"] == 0
    assert run("pricing", "check").err == ""


def test_a_withdrawn_model_that_is_still_used_is_a_warning(run: Run, world: World, tmp_path: Path) -> None:
    entry = {
        "litellm_provider": "anthropic",
        "mode": "chat",
        "input_cost_per_token": 1e-6,
        "output_cost_per_token": 2e-6,
        "deprecation_date": "2026-01-01",
    }
    path = tmp_path / "list.json"
    path.write_text(json.dumps({"claude-sonnet-4-5": entry}), encoding="utf-8")
    today = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    world.append(world.claude_path(), claude("late", "late", timestamp=today))
    run("sync")
    assert run("pricing", "import", "litellm", "--from", str(path)).code == 0
    found = run("pricing", "audit")
    assert found.code == 0
    assert "models.claude-sonnet-4-5: was withdrawn on 2026-01-01" in found.out


def test_an_imported_list_can_be_left_out_again(run: Run, tmp_path: Path) -> None:
    assert run("pricing", "lists", "--remove", "litellm").code == 3
    path = tmp_path / "list.json"
    entry = {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
    path.write_text(json.dumps({"gpt-5": entry}), encoding="utf-8")
    assert run("pricing", "import", "litellm", "--from", str(path)).code == 0
    assert run("pricing", "lists", "--remove", "litellm").code == 0
    assert run("pricing", "lists").code == 3
