"""What runs by itself when logs change, and what does not: by the sensor `on_change`, and by the assets' conditions."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.freshness import TimeWindowFreshnessPolicy

from resources import LedgerHome
from tokenledger_dagster import automation
from tokenledger_dagster.automation import (
    RETRY_AFTER_SECONDS,
    RUN_AT_MOST_EVERY_SECONDS,
    on_change,
    reached,
    reason_to_wait,
)
from tokenledger_dagster.definitions import defs

SAMPLE = Path(__file__).parents[2] / "fixtures" / "sample" / "home"
JOB = "orchestrate"
USAGE = ("aggregate_cache", "blocks", "clients", "daily", "models", "monthly", "projects", "sessions", "weekly")
SILENT = {"console": {"config": {"log_level": "CRITICAL"}}}


class Machine:
    """Logs, a ledger, and a daemon that ticks when it is told to."""

    def __init__(self, home: Path, ledger: Path, instance: dg.DagsterInstance) -> None:
        self.home = home
        self.ledger = ledger
        self.instance = instance
        self._cursor: dg.AssetDaemonCursor | None = None

    def run(self, *assets: str) -> bool:
        keys = [dg.AssetKey(name.split("/")) for name in assets]
        result = defs.resolve_job_def(JOB).execute_in_process(
            instance=self.instance, asset_selection=keys or None, run_config={"loggers": SILENT}, raise_on_error=False
        )
        return result.success

    def observe(self) -> None:
        assert self.run("sources/claude_logs", "sources/codex_logs")

    def tick(self) -> set[str]:
        """What one evaluation of all conditions asks for, sources aside."""
        found = dg.evaluate_automation_conditions(defs=defs, instance=self.instance, cursor=self._cursor)
        self._cursor = found.cursor
        asked = {key.to_user_string() for key in found._requested_partitions_by_asset_key}
        return {name for name in asked if not name.startswith("sources/")}

    def use_codex(self) -> None:
        """One more request in a Codex log."""
        log = next(self.home.rglob("*019a1cb8-9eb2-7c67-a2d4-adac18b10d4b.jsonl"))
        row = json.loads(log.read_bytes().splitlines()[-1])
        row["timestamp"] = "2026-10-10T16:30:00.000Z"
        for counters in (row["payload"]["info"][name] for name in ("total_token_usage", "last_token_usage")):
            counters["input_tokens"] += 1_000
            counters["total_tokens"] += 1_000
        with log.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(row) + "\n")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    shutil.copytree(SAMPLE, tmp_path / "home")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TOKENLEDGER_HOME", str(tmp_path / "ledger"))
    with dg.DagsterInstance.ephemeral() as instance:
        yield Machine(tmp_path / "home", tmp_path / "ledger", instance)


def test_a_new_ledger_is_filled(machine: Machine) -> None:
    machine.observe()

    asked = machine.tick()

    assert {"events/claude", "events/codex", "pricing/price_list"} <= asked


@pytest.mark.slow
def test_unchanged_logs_ask_for_nothing(machine: Machine) -> None:
    assert machine.run()
    machine.tick()
    machine.observe()

    assert machine.tick() == set()
    assert machine.tick() == set()


@pytest.mark.slow
def test_a_change_runs_on_only_as_far_as_it_reaches(machine: Machine) -> None:
    assert machine.run()
    machine.tick()
    machine.use_codex()
    machine.observe()

    assert machine.tick() == {"events/codex"}
    assert machine.run("events/codex")
    assert machine.tick() == {"events/booked", "events/log_files"}
    assert machine.run("events/booked", "events/log_files")
    priced = ("events/duplicates", "pricing/event_costs", "pricing/reprice", "ledger/runtime_metrics")
    # of the estimates those that stand on the events alone; the others wait for a model that was never looked at
    estimates = {"inference/mapping_suggestions", "inference/token_estimates"}
    assert machine.tick() == {*priced, *estimates}
    assert machine.run(*priced)
    after = {"pricing/unpriced", "pricing/subscriptions", "reconcile/summary"}
    assert machine.tick() == {*after, *(f"usage/{name}" for name in USAGE)}


@pytest.mark.slow
def test_what_was_refused_is_not_built_upon(machine: Machine) -> None:
    assert machine.run()
    machine.tick()
    segment = next((machine.ledger / "lake").rglob("*.parquet"))
    segment.write_bytes(segment.read_bytes() + b"!")
    machine.use_codex()
    machine.observe()

    assert machine.tick() == {"events/codex"}
    assert not machine.run("events/codex")
    assert machine.tick() == set()


# ------------------------------------------------------------------ the sensor

SUCCESS, FAILURE = dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE
CANCELED, QUEUED, STARTED = dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTED


@pytest.mark.parametrize(
    ("last", "age", "changed", "reason"),
    [
        (None, math.inf, True, ""),
        (SUCCESS, 60.0, True, ""),
        (FAILURE, 60.0, True, ""),
        (CANCELED, 60.0, True, ""),
        (FAILURE, RETRY_AFTER_SECONDS, False, ""),
        (FAILURE, RETRY_AFTER_SECONDS - 1, False, "The last run began less than 3600 seconds ago."),
        (SUCCESS, RUN_AT_MOST_EVERY_SECONDS - 1, True, "The last run began less than 15 seconds ago."),
        (SUCCESS, 9_999.0, False, "No log changed."),
        (CANCELED, 9_999.0, False, "No log changed."),
        (QUEUED, 60.0, True, "The run of the last change is not over yet."),
        (STARTED, 60.0, False, "The run of the last change is not over yet."),
        (STARTED, RETRY_AFTER_SECONDS, False, ""),
    ],
)
def test_when_the_sensor_runs_the_job(last: dg.DagsterRunStatus, age: float, changed: bool, reason: str) -> None:
    assert reason_to_wait(last, age, changed=changed) == reason


def test_the_sensor_asks_once_for_each_change(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(automation, "RUN_AT_MOST_EVERY_SECONDS", 0)
    seen: str | None = None

    def look(instance: dg.DagsterInstance) -> str | None:
        nonlocal seen
        context = dg.build_sensor_context(instance, seen, definitions=defs, resources={"home": LedgerHome()})
        found = on_change.evaluate_tick(context)
        seen = found.cursor or seen
        return "run" if found.run_requests else found.skip_message

    (tmp_path / "history").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "history")) as instance:
        assert look(instance) == "run"
        assert look(instance) == "No log changed."
        machine.use_codex()
        assert look(instance) == "run"
        assert look(instance) == "No log changed."
        seen = "of another version"
        assert look(instance) == "run"


@pytest.mark.slow
def test_the_sensor_runs_only_what_a_change_reaches(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(automation, "RUN_AT_MOST_EVERY_SECONDS", 0)
    job = defs.resolve_job_def(JOB)

    def look(cursor: str | None) -> tuple[str | None, set[str]]:
        """The cursor, and what was asked for and run; nothing for everything."""
        context = dg.build_sensor_context(machine.instance, cursor, definitions=defs, resources={"home": LedgerHome()})
        found = on_change.evaluate_tick(context)
        (request,) = found.run_requests or ()
        tags = {"dagster/sensor_name": "on_change"}
        result = job.execute_in_process(
            instance=machine.instance,
            asset_selection=list(request.asset_selection or ()) or None,
            run_config={"loggers": SILENT},
            tags=tags,
        )
        assert result.success
        return found.cursor, {key.to_user_string() for key in request.asset_selection or ()}

    cursor, first = look(None)
    machine.use_codex()
    _, second = look(cursor)

    assert first == set()
    assert {"sources/codex_logs", "events/codex", "events/booked", "usage/daily", "exports/ui_snapshot"} <= second
    others = {key for key in second if key.startswith(("sources/", "events/"))}
    assert others == {
        "sources/codex_logs",
        *(f"events/{name}" for name in ("codex", "booked", "duplicates", "log_files")),
    }
    assert second.isdisjoint({"pricing/book", "pricing/price_list", "ledger/model_seed"})


def test_what_a_change_of_logs_reaches() -> None:
    graph = defs.resolve_asset_graph()
    everything = {node.key for node in graph.asset_nodes}

    assert reached(graph, set()) == []
    both = set(reached(graph, {"codex", "claude-code"}))
    assert both == {*reached(graph, {"codex"}), *reached(graph, {"claude-code"})}
    assert dg.AssetKey(["events", "claude"]) not in reached(graph, {"codex"})
    assert both < everything


# ------------------------------------------------------------------ jobs and schedules


def assets_of(job: str) -> set[str]:
    return {key.to_user_string() for key in defs.resolve_job_def(job).asset_layer.executable_asset_keys}


def test_the_jobs() -> None:
    assert {job.name for job in automation.JOBS} >= {
        *("orchestrate", "orchestrate_ui", "refresh", "refresh_ledger", "reconcile", "pricing_ci"),
    }
    snapshot = assets_of("orchestrate_ui")
    assert snapshot < assets_of("orchestrate")
    assert {"events/codex", "pricing/event_costs", "usage/monthly", "exports/ui_snapshot"} <= snapshot
    assert snapshot.isdisjoint({"exports/warehouse", "reconcile/summary", "ledger/runtime_metrics", "usage/sessions"})
    assert {name.split("/")[0] for name in assets_of("reconcile")} == {"sources", "events", "pricing", "reconcile"}
    assert assets_of("reconcile") == assets_of("pricing_ci")


def test_the_schedules() -> None:
    assert [(one.name, one.job_name, one.cron_schedule) for one in automation.SCHEDULES] == [
        ("hourly", "orchestrate", "7 * * * *"),
        ("daily_reconcile", "reconcile", "17 3 * * *"),
        ("weekly_ledger", "refresh_ledger", "27 4 * * 1"),
    ]


@pytest.mark.parametrize(("switch", "status"), [("", "STOPPED"), ("false", "STOPPED"), ("true", "RUNNING")])
def test_one_switch_turns_them_on(switch: str, status: str) -> None:
    code = (
        "from tokenledger_dagster.automation import SCHEDULES, SENSORS; "
        "print(*(one.default_status.value for one in [*SCHEDULES, *SENSORS]))"
    )
    environ = {**os.environ, "TOKENLEDGER_AUTOMATION": switch, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environ, check=True)

    # the sensor by conditions is another way to the same end, and both together would do everything twice
    assert done.stdout.split() == [status] * 4 + ["STOPPED"]


def test_what_others_read_is_told_as_stale() -> None:
    policies = {
        node.key.to_user_string(): (policy.warn_window.to_timedelta().days, policy.fail_window.to_timedelta().days)
        for node in defs.resolve_asset_graph().asset_nodes
        if isinstance(policy := node.freshness_policy, TimeWindowFreshnessPolicy) and policy.warn_window
    }
    assert policies == {
        "exports/pipeline_summary": (1, 7),
        "exports/ui_snapshot": (1, 7),
        "exports/warehouse": (1, 7),
        "ledger/unified_model_provider_pareto": (8, 30),
    }
