from __future__ import annotations

import csv
import io
from decimal import Decimal
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.support import World, claude
from tokenledger_dagster.usage import kinds
from tokenledger_dagster.usage.report import KINDS

KEYS = {
    "daily": ["2026-02-18", "2026-02-19", "2026-03-08"],
    "weekly": ["2026-W08", "2026-W10"],
    "monthly": ["2026-02", "2026-03"],
    "session": ["t1", "s1"],
    "project": ["/home/ada/code/kelp", "/home/ada/code/tidepool"],
    "model": ["gpt-5.4", "acme-coder-9", "claude-sonnet-4-5"],
    "client": ["codex", "claude-code"],
    "block": ["2026-02-18T09:00:00Z", "2026-02-18T20:00:00Z", "2026-02-19T10:00:00Z", "2026-03-08T12:00:00Z"],
}
COUNTERS = (
    "input_tokens",
    "output_tokens",
    "cache_write_tokens",
    "cache_read_tokens",
    "tool_input_tokens",
    "tool_output_tokens",
)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_its_keys_and_the_same_totals(run: Run, kind: str) -> None:
    report = run("report", kind, "--format", "json").json

    assert [row["key"] for row in report["rows"]] == KEYS[kind]
    assert {name: report["totals"][name] for name in (*COUNTERS, "total_tokens", "event_count", "session_count")} == {
        "input_tokens": 1_200,
        "output_tokens": 110,
        "cache_write_tokens": 0,
        "cache_read_tokens": 400,
        "tool_input_tokens": 0,
        "tool_output_tokens": 0,
        "total_tokens": 1_710,
        "event_count": 4,
        "session_count": 2,
    }
    assert report["totals"]["unpriced_tokens"] == 330


def test_the_document_is_the_contracts(run: Run) -> None:
    report = run("report", "daily", "--format", "json").json

    assert list(report)[:7] == ["schema_version", "generated_at", "kind", "timezone", "filters", "rows", "totals"]
    assert (report["schema_version"], report["kind"], report["timezone"]) == (1, "daily", "UTC")
    assert report["generated_at"].endswith("Z")
    (model,) = report["rows"][1]["models"]
    assert (model["model"], model["model_raw"], model["total_tokens"]) == ("gpt-5.4", ["gpt-5.4"], 1_050)
    assert model["effective_cost_usd"] == model["list_price_usd"] > 0


def test_what_has_no_price_is_null_and_not_zero(run: Run) -> None:
    row = run("report", "daily", "--format", "json").json["rows"][2]

    assert (row["list_price_usd"], row["effective_cost_usd"]) == (None, None)
    assert (row["unpriced_tokens"], row["unpriced_count"]) == (330, 1)


def test_prices_are_exact(run: Run) -> None:
    # 300 x 3 USD + 30 x 15 USD per million
    row = run("report", "daily", "--format", "json").json["rows"][0]

    assert row["list_price_usd"] == 0.00135


@pytest.mark.parametrize(
    ("filters", "tokens"),
    [
        (["--since", "2026-02-19"], 1_380),
        (["--until", "2026-02-18"], 330),
        (["--since", "2026-02-19", "--until", "2026-02-19"], 1_050),
        (["--client", "codex"], 1_050),
        (["--client", "claude"], 660),
        (["--client", "claude", "--client", "codex"], 1_710),
        (["--model", "claude-sonnet-4-5"], 330),
        (["--model", "claude-sonnet-4-5-20250929"], 330),
        (["--project", "tidepool"], 660),
        (["--project", "/home/ada/code/kelp"], 1_050),
        (["--session", "s1"], 660),
        (["--no-estimates"], 1_710),
    ],
)
def test_filters_hold_for_every_kind(run: Run, filters: list[str], tokens: int) -> None:
    for kind in ("daily", "session", "model", "block"):
        assert run("report", kind, *filters, "--format", "json").json["totals"]["total_tokens"] == tokens


@pytest.mark.parametrize(
    ("zone", "days"),
    [
        ("UTC", {"2026-02-18": 2, "2026-02-19": 1, "2026-03-08": 1}),
        ("Asia/Kathmandu", {"2026-02-18": 1, "2026-02-19": 2, "2026-03-08": 1}),
        ("Pacific/Kiritimati", {"2026-02-18": 1, "2026-02-19": 1, "2026-02-20": 1, "2026-03-09": 1}),
    ],
)
def test_days_are_those_of_the_zone(run: Run, zone: str, days: dict[str, int]) -> None:
    report = run("report", "daily", "--tz", zone, "--format", "json").json

    assert {row["key"]: row["event_count"] for row in report["rows"]} == days
    assert report["timezone"] == zone


def test_a_day_of_23_hours_holds_its_events(world: World, run: Run) -> None:
    times = ("2026-03-08T04:59:59Z", "2026-03-08T05:00:00Z", "2026-03-09T03:59:59Z", "2026-03-09T04:00:00Z")
    world.claude(*(claude(f"d{n}", f"d{n}", timestamp=time) for n, time in enumerate(times)), name="dst.jsonl")
    report = run("report", "daily", "--tz", "America/New_York", "--since", "2026-03-07", "--format", "json").json

    assert {row["key"]: row["event_count"] for row in report["rows"]} == {
        "2026-03-07": 1, "2026-03-08": 3, "2026-03-09": 1,
    }  # fmt: skip


def test_the_configured_zone_and_another_one_agree_on_totals(run: Run) -> None:
    cells = run("report", "monthly", "--format", "json").json["totals"]
    events = run("report", "monthly", "--tz", "Asia/Kathmandu", "--format", "json").json["totals"]

    assert cells == events


def test_order(run: Run) -> None:
    def keys(*arguments: str) -> list[str]:
        return [row["key"] for row in run("report", *arguments, "--format", "json").json["rows"]]

    assert keys("daily", "--order", "desc") == KEYS["daily"][::-1]
    assert keys("client", "--order", "asc") == ["claude-code", "codex"]


def test_csv_has_exact_figures(run: Run) -> None:
    rows = list(csv.DictReader(io.StringIO(run("report", "daily", "--format", "csv").out)))

    assert [row["Day"] for row in rows] == KEYS["daily"]
    assert (rows[0]["Input"], rows[0]["Output"]) == ("300", "30")
    assert Decimal(rows[0]["List price USD"]) == Decimal("0.00135")
    assert rows[2]["List price USD"] == ""


def test_the_table_names_its_zone_and_what_has_no_price(run: Run) -> None:
    text = run("report", "daily").out

    assert "4 events in 2 sessions, days in UTC" in text
    assert "330 tokens have no known price" in text


def test_markdown_is_a_table(run: Run) -> None:
    lines = run("report", "daily", "--format", "markdown").out.splitlines()

    assert lines[1].startswith("| --- | --- | ---: |")
    assert {line.count("|") for line in lines} == {lines[0].count("|")}


def test_daily_is_the_default(run: Run) -> None:
    assert run("report", "--json").json["kind"] == "daily"


def test_no_sync_answers_from_the_last_commit(world: World, run: Run) -> None:
    run("report", "daily")
    world.append(world.claude_path(), claude("m9", "r9", timestamp="2026-03-09T09:00:00Z"))

    assert run("report", "daily", "--no-sync", "--format", "json").json["totals"]["event_count"] == 4
    assert run("report", "daily", "--format", "json").json["totals"]["event_count"] == 5


def test_deleted_logs_change_no_figure(world: World, run: Run) -> None:
    before = run("report", "daily", "--format", "json").json
    world.claude_path().unlink()
    after = run("report", "daily", "--format", "json").json

    assert after["rows"] == before["rows"]


class TestExitCodes:
    def test_nothing_to_report_is_3(self, run: Run) -> None:
        found = run("report", "daily", "--since", "2030-01-01")

        assert (found.code, found.out) == (3, "")
        assert "no events for since 2030-01-01" in found.err

    def test_an_empty_home_is_3(self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
        monkeypatch.setenv("TOKENLEDGER_HOME", str(tmp_path / "empty"))

        assert run("report", "daily").code == 3
        assert run("report", "daily", "--no-sync").code == 3

    @pytest.mark.parametrize(
        ("arguments", "remedy"),
        [
            (["--client", "emacs"], "known are claude-code, codex"),
            (["--tz", "Mars/Olympus"], "use an IANA name such as Europe/Berlin"),
            (["--since", "yesterday"], "write it as 2026-02-18"),
            (["--until", "2026-13-01"], "write it as 2026-02-18"),
            (["--since", "2026-03-01", "--until", "2026-02-01"], "is after"),
            (["--format", "xml"], "choose from"),
            (["hourly"], "choose from"),
        ],
        ids=lambda value: value[0] if isinstance(value, list) else "",
    )
    def test_a_usage_error_is_2_and_names_the_remedy(self, run: Run, arguments: list[str], remedy: str) -> None:
        found = run("report", *arguments)

        assert (found.code, found.out) == (2, "")
        assert remedy in found.err
        assert "Traceback" not in found.err

    def test_bad_state_is_4_in_one_line(self, world: World, run: Run) -> None:
        world.ledger.lake.mkdir(parents=True)
        world.ledger.manifest_path.write_bytes(b"no database " * 100)
        found = run("report", "daily")

        assert found.code == 4
        assert str(world.ledger.manifest_path) in found.err
        assert len(found.err.strip().splitlines()) == 1

    def test_an_unknown_command_is_2(self, run: Run) -> None:
        found = run("reprot")

        assert found.code == 2
        assert "tokenledger --help" in found.err

    def test_no_command_is_2_and_shows_them(self, run: Run) -> None:
        found = run()

        assert found.code == 2
        assert "report" in found.out


def test_the_kinds_that_arguments_know_are_those_that_reports_have() -> None:
    assert tuple(KINDS) == kinds.KINDS
