"""A locked month stays as it was locked, and where it does not, the report says which events and why."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.exports.small import small_world
from tests.support import World, claude, jsonl, meta, rollout, tokens, turn
from tokenledger_dagster.contracts.golden import Basis, GoldenReport
from tokenledger_dagster.exports.tables import table_path
from tokenledger_dagster.fileio import write_json_atomic
from tokenledger_dagster.governance.golden import EDITED, GoldenError, lock_path, lock_state, read_closed, seal_of
from tokenledger_dagster.governance.golden_causes import CAUSES, NO_REASON, SAME_EVENTS, basis_changes
from tokenledger_dagster.governance.golden_months import (
    MonthFigures,
    build_tables,
    lock_closed,
    month_figures,
    open_from,
    verify_closed,
)
from tokenledger_dagster.governance.invariants import Inspection, inspect
from tokenledger_dagster.pricing.reprice import reprice

NOW = datetime(2026, 3, 20, tzinfo=UTC)
FEBRUARY = ["2026-02"]


class Ledger:
    """The small ledger, whose events are all of February 2026."""

    def __init__(self, folder: Path, con: duckdb.DuckDBPyConnection, world: World | None = None) -> None:
        self.world = world or small_world(folder)
        self.con = con
        build_tables(self.world.ledger, con, "UTC")

    @property
    def path(self) -> Path:
        return lock_path(self.world.ledger)

    def lock(self, *, accept: bool = False, months: tuple[str, ...] = (), now: datetime = NOW) -> GoldenReport:
        return lock_closed(self.world.ledger, self.con, now, 3, accept_changes=accept, months=months)

    def verify(self, *, sync: bool = True, now: datetime = NOW) -> GoldenReport:
        if sync:
            self.world.sync()
            build_tables(self.world.ledger, self.con, "UTC")
        return verify_closed(self.world.ledger, self.con, now)

    def rewrite_events(self, select: str) -> None:
        """The table as other hands would change it."""
        path = table_path(self.world.ledger, "events")
        with duckdb.connect() as con:
            con.execute(f"CREATE TABLE t AS SELECT * FROM read_parquet('{path}')")
            con.execute(f"COPY ({select}) TO '{path}' (FORMAT parquet)")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the small ledger in ``live``, its tables built and February locked, and a copy of it."""
    folder = tmp_path_factory.mktemp("built")
    with duckdb.connect() as con:
        assert Ledger(folder / "live", con).lock().locked == FEBRUARY
    shutil.copytree(folder / "live", folder / "copy")
    return folder


@pytest.fixture
def locked(built: Path) -> Iterator[Ledger]:
    """The small ledger as it was built, where it was built: its logs and tables are the known ones."""
    shutil.rmtree(built / "live")
    shutil.copytree(built / "copy", built / "live")
    with duckdb.connect() as con:
        yield Ledger(built / "live", con, World(built / "live"))


@pytest.fixture
def ledger(locked: Ledger) -> Ledger:
    """The same before anything was locked."""
    shutil.rmtree(locked.world.ledger.golden)
    return locked


def causes(report: GoldenReport) -> list[tuple[str, str, int, int]]:
    """Cause, change, events and change of tokens of the only changed month."""
    (month,) = report.months
    return [(one.cause, one.change, one.event_count, one.total_tokens_delta) for one in month.causes]


# ------------------------------------------------------------------ locking


@pytest.mark.parametrize(
    ("today", "days", "opens"),
    [
        ("2026-03-03", 3, "2026-02-01"),
        ("2026-03-04", 3, "2026-03-01"),
        ("2026-03-01", 0, "2026-03-01"),
        ("2026-01-02", 3, "2025-12-01"),
        ("2026-03-20", 366, "2025-03-01"),
    ],
)
def test_a_month_closes_some_days_after_its_end(today: str, days: int, opens: str) -> None:
    assert open_from(date.fromisoformat(today), days) == date.fromisoformat(opens)


def test_the_lock_holds_every_month_by_client_provider_and_model(locked: Ledger) -> None:
    lock = json.loads(locked.path.read_bytes())

    assert (lock["schema_version"], lock["kind"], lock["closes_after_days"]) == (1, "closed_months", 3)
    assert list(lock["months"]) == FEBRUARY
    month = lock["months"]["2026-02"]
    assert (month["event_count"], month["locked_at"]) == (5, "2026-03-20T00:00:00Z")
    assert list(month["rows"]) == [
        "claude-code/claude/claude-sonnet-4-5",
        "claude-code/claude/house-model-7",
        "codex/codex/gpt-5.1-codex",
    ]
    assert month["rows"]["claude-code/claude/claude-sonnet-4-5"] == {
        "event_count": 3,
        "total_tokens": 11_820,
        "input_tokens": 1_110,
        "output_tokens": 310,
        "cache_write_tokens": 400,
        "cache_read_tokens": 10_000,
        "tool_input_tokens": 0,
        "tool_output_tokens": 0,
        "unpriced_count": 0,
        "list_price_usd": 0.01248,
        "effective_cost_usd": 0.01248,
    }
    assert month["rows"]["claude-code/claude/house-model-7"]["list_price_usd"] is None


def test_locking_again_changes_no_byte_and_verifying_passes(locked: Ledger) -> None:
    before = lock_state(locked.world.ledger)

    again = locked.lock(now=NOW + timedelta(days=1))
    found = locked.verify()

    assert (again.passed, again.locked) == (True, [])
    assert (found.passed, found.compared, found.differences, found.months) == (True, 33, [], [])
    assert lock_state(locked.world.ledger) == before


def test_the_digest_is_two_sums_of_md5_as_anybody_can_work_them_out(locked: Ledger) -> None:
    events, costs = (table_path(locked.world.ledger, name) for name in ("events", "event_costs"))
    rows = locked.con.execute(
        f"SELECT event_id, epoch_us(e.timestamp), e.client, e.provider, e.model, input_tokens, output_tokens, "
        f"cache_write_tokens, cache_read_tokens, tool_input_tokens, tool_output_tokens, list_price_usd "
        f"FROM read_parquet('{events}') e JOIN read_parquet('{costs}') USING (event_id)"
    ).fetchall()
    low = high = 0
    for row in rows:
        text = "|".join("-" if value is None else str(value) for value in row)
        number = int.from_bytes(hashlib.md5(text.encode(), usedforsecurity=False).digest(), "little")
        low, high = low + number % 2**64, high + number // 2**64
    expected = hashlib.blake2b(f"{len(rows)} {low} {high}".encode(), digest_size=16).hexdigest()

    assert json.loads(locked.path.read_bytes())["months"]["2026-02"]["digest"] == expected


def test_a_digest_that_was_made_otherwise_is_told_as_such(locked: Ledger) -> None:
    lock = read_closed(locked.path)
    assert lock is not None
    months = {"2026-02": msgspec.structs.replace(lock.months["2026-02"], digest="0" * 32)}
    write_json_atomic(locked.path, msgspec.structs.replace(lock, months=months, seal=seal_of(months)))

    (month,) = locked.verify().months

    assert (month.basis_changed, month.causes) == ([SAME_EVENTS], [])


def test_an_open_month_is_not_locked(ledger: Ledger) -> None:
    report = ledger.lock(now=datetime(2026, 3, 3, tzinfo=UTC))

    assert (report.locked, ledger.path.exists()) == ([], False)


def test_a_closed_month_that_nobody_locked_is_told_and_no_failure(locked: Ledger) -> None:
    locked.world.claude(claude("msg_9", "req_9", timestamp="2026-03-05T10:00:00Z"), name="s9.jsonl")

    march = locked.verify()
    april = locked.verify(now=datetime(2026, 4, 20, tzinfo=UTC))

    assert (march.passed, march.unlocked_months) == (True, [])
    assert (april.passed, april.unlocked_months) == (True, ["2026-03"])
    assert locked.lock(now=datetime(2026, 4, 20, tzinfo=UTC)).locked == ["2026-03"]
    assert locked.verify(now=datetime(2026, 4, 20, tzinfo=UTC)).unlocked_months == []


_FILES = {
    "s1.jsonl": [claude("m1", "r1", input=10, output=5), claude("m2", "r2", input=7, output=1, minutes=3)],
    "s2.jsonl": [claude("m1", "r1", input=10, output=9, session="s2"), claude("m3", "r3", minutes=9, session="s2")],
    "s3.jsonl": [claude("m2", "r2", input=7, output=1, minutes=3, session="s3", sidechain=True)],
}


def _locked_figures(folder: Path, names: Sequence[str], *, each: bool) -> dict[str, MonthFigures]:
    """Figures of these logs, read one by one or at once."""
    world = World(folder)
    for name in names:
        world.claude(*_FILES[name], name=name)
        if each:
            world.sync()
    world.sync()
    with duckdb.connect() as con:
        build_tables(world.ledger, con, "UTC")
        return month_figures(world.ledger, con, date(2026, 3, 1))


@pytest.fixture(scope="module")
def read_at_once(tmp_path_factory: pytest.TempPathFactory) -> dict[str, MonthFigures]:
    return _locked_figures(tmp_path_factory.mktemp("once"), sorted(_FILES), each=False)


@settings(max_examples=4)
@given(order=st.permutations(sorted(_FILES)))
def test_what_is_locked_does_not_depend_on_the_order_of_reading(
    order: list[str], read_at_once: dict[str, MonthFigures], tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert _locked_figures(tmp_path_factory.mktemp("order"), order, each=True) == read_at_once


# ------------------------------------------------------------------ what changed, and why


def test_an_event_added_by_a_known_log_is_named_with_its_log(locked: Ledger) -> None:
    log = locked.world.claude_path()
    locked.world.append(log, claude("msg_8", "req_8", input=3, output=4, minutes=60))

    report = locked.verify()

    assert not report.passed
    assert causes(report) == [("log_grew", "came", 1, 7)]
    (cause,) = report.months[0].causes
    assert (cause.events[0].place, cause.events[0].tokens_before) == (str(log), None)
    assert cause.list_price_usd_delta == Decimal("0.000069")
    assert report.months[0].basis_changed == []
    assert {(one.key, one.figure, one.delta) for one in report.differences} >= {
        ("claude-code/claude/claude-sonnet-4-5", "event_count", 1),
        ("claude-code/claude/claude-sonnet-4-5", "total_tokens", 7),
        ("claude-code/claude/claude-sonnet-4-5", "list_price_usd", Decimal("0.000069")),
    }


def test_an_event_added_by_a_new_log_is_told_apart(locked: Ledger) -> None:
    locked.world.codex(
        meta("t7"), turn(), tokens((10, 0, 5), (10, 0, 5), minutes=30), name=rollout("t7")
    )  # fmt: skip

    assert causes(locked.verify()) == [("new_log", "came", 1, 15)]


def test_an_event_of_a_rewritten_log_is_told_apart(locked: Ledger) -> None:
    path = locked.world.claude_path("s2.jsonl")
    path.write_bytes(jsonl(claude("msg_77", "req_77", input=1, output=1, minutes=5, session="s2")))

    assert causes(locked.verify()) == [("log_rewritten", "came", 1, 2)]


def test_a_better_copy_of_an_event_changes_it(locked: Ledger) -> None:
    locked.world.append(locked.world.claude_path(), claude("msg_3", "req_3", input=100, output=150, minutes=870))

    report = locked.verify()

    assert causes(report) == [("other_copy", "changed", 1, 50)]
    (event,) = report.months[0].causes[0].events
    assert (event.tokens_before, event.tokens_after) == (200, 250)


def test_an_event_that_became_a_duplicate_names_rule_and_owner(tmp_path: Path) -> None:
    world = World(tmp_path)
    aside = claude("msg_1", "req_2", input=50, output=5, write=100, read=900, session="s1", sidechain=True, minutes=2)
    world.claude(aside, name="-home-ada-code-tidepool/s1/subagents/agent-aside.jsonl")
    world.sync()
    with duckdb.connect() as con:
        ledger = Ledger(tmp_path, con, world)
        ledger.lock()
        world.claude(claude("msg_1", "req_1", input=50, output=5, write=100, read=900, session="s1"))

        report = ledger.verify()

    assert causes(report) == [("became_duplicate", "went", 1, -1055), ("new_log", "came", 1, 1055)]
    went, came = report.months[0].causes
    assert went.events[0].place == f"claude.sidechain_replay of {came.events[0].event_id}"


def test_an_accepted_price_changes_the_month_and_names_both_snapshots(locked: Ledger) -> None:
    before = json.loads(locked.path.read_bytes())["months"]["2026-02"]["basis"]["prices"]
    rate = {"input_usd_per_mtok": 4, "output_usd_per_mtok": 15, "cache_write_usd_per_mtok": 3.75}
    rate |= {"cache_write_1h_usd_per_mtok": 6, "cache_read_usd_per_mtok": 0.3}
    book = {"schema_version": 1, "providers": {"claude": {"models": {"claude-sonnet-4-5": rate}}}}
    locked.world.ledger.pricing_book_path.write_text(json.dumps(book))

    waiting = locked.verify()
    accepted = reprice(locked.world.ledger, write=True).new_snapshot_id
    report = locked.verify()

    assert waiting.passed
    assert causes(report) == [("repriced", "changed", 3, 0)]
    assert report.months[0].causes[0].list_price_usd_delta == Decimal("0.00111")
    assert report.months[0].basis_changed == [f"price snapshot {accepted} was accepted in place of {before}"]


def test_an_override_of_a_name_changes_the_month(locked: Ledger) -> None:
    overrides = "schema_version: 1\noverrides:\n"
    overrides += "  - {name: house-model-7, model: house-model-8, maker: example, reason: a test}\n"
    locked.world.ledger.overrides_path.write_text(overrides)

    report = locked.verify()

    assert causes(report) == [("renamed", "changed", 1, 0)]
    assert report.months[0].basis_changed == ["overrides.yaml changed"]
    assert [one.kind for one in report.differences] == ["missing_row", "new_row"]


def test_a_plan_changes_what_events_cost_and_none_of_them(locked: Ledger) -> None:
    plan = (
        "  - {name: Pro, provider: claude, from: 2026-02-01, to: 2026-03-01, fees: [{period: 2026-02-01, amount: 5}]}\n"
    )
    locked.world.ledger.plans_path.write_text(f"schema_version: 1\nsubscriptions:\n{plan}")

    report = locked.verify()

    assert not report.passed
    assert {one.figure for one in report.differences} == {"effective_cost_usd"}
    assert (causes(report), report.months[0].basis_changed) == (
        [],
        ["plans.yaml, or fees of the pricing book, changed"],
    )


def test_an_event_removed_from_the_table_is_told_as_the_work_of_other_hands(locked: Ledger) -> None:
    locked.rewrite_events("SELECT * FROM t WHERE message_id IS DISTINCT FROM 'msg_3'")

    report = locked.verify(sync=False)

    assert causes(report) == [("not_in_table", "went", 1, -200)]
    assert report.months[0].basis_changed == [NO_REASON]


def test_an_event_invented_in_the_table_is_told(locked: Ledger) -> None:
    locked.rewrite_events(
        "SELECT * FROM t UNION ALL SELECT * REPLACE ('00000000000000000000000000000000' AS event_id) FROM t "
        "WHERE message_id = 'msg_3'"
    )

    assert causes(locked.verify(sync=False)) == [("not_booked", "came", 1, 200)]


def test_two_events_that_swap_their_figures_leave_sums_but_not_the_month(locked: Ledger) -> None:
    locked.rewrite_events(
        "SELECT * REPLACE (CASE message_id WHEN 'msg_3' THEN 10 WHEN 'msg_4' THEN 100 ELSE input_tokens END "
        "AS input_tokens) FROM t"
    )

    report = locked.verify(sync=False)

    assert (report.passed, report.differences) == (False, [])
    assert causes(report) == [("booked_otherwise", "changed", 2, 0)]


def test_a_month_without_any_event_left_is_told(locked: Ledger) -> None:
    locked.rewrite_events("SELECT * FROM t WHERE false")

    report = locked.verify(sync=False)

    assert [one.kind for one in report.differences] == ["missing_scenario"]
    assert causes(report) == [("not_in_table", "went", 5, -12_920)]


def test_what_a_month_stands_on_is_compared_one_by_one() -> None:
    before = Basis(booking="b1", overrides="", prices="p1", plans="", program="0.1.0", last_record=6)
    after = Basis(booking="b2", overrides="o", prices="p2", plans="x", program="0.2.0", last_record=9)

    assert basis_changes(before, before) == []
    assert basis_changes(before, after) == [
        "booking's rules or the committed names changed (program 0.1.0, now 0.2.0)",
        "overrides.yaml changed",
        "price snapshot p2 was accepted in place of p1",
        "plans.yaml, or fees of the pricing book, changed",
    ]


# ------------------------------------------------------------------ accepting


def test_a_changed_month_is_locked_anew_only_where_it_is_accepted(locked: Ledger) -> None:
    locked.world.append(locked.world.claude_path(), claude("msg_8", "req_8", input=3, output=4, minutes=60))
    assert not locked.verify().passed
    before = locked.path.read_bytes()

    refused = locked.lock()
    accepted = locked.lock(accept=True)

    assert (refused.passed, refused.locked) == (False, [])
    assert refused.differences
    assert (accepted.passed, accepted.locked) == (True, FEBRUARY)
    assert locked.path.read_bytes() != before
    assert locked.verify().passed
    assert len(list((locked.world.ledger.golden / "closed").iterdir())) == 1


def test_a_new_month_can_be_locked_while_another_one_waits(locked: Ledger) -> None:
    april = datetime(2026, 4, 20, tzinfo=UTC)
    locked.world.append(locked.world.claude_path(), claude("msg_8", "req_8", timestamp="2026-03-05T10:00:00Z"))
    locked.world.append(locked.world.claude_path(), claude("msg_9", "req_9", minutes=60))
    locked.verify(now=april)

    assert locked.lock(now=april).locked == []
    march = locked.lock(now=april, months=("2026-03",))

    assert (march.locked, march.passed) == (["2026-03"], False)
    assert [one.month for one in locked.verify(now=april).months] == FEBRUARY


# ------------------------------------------------------------------ damaged and edited locks


def test_a_hand_edited_lock_fails_and_is_not_made_good_in_part(locked: Ledger) -> None:
    locked.path.write_text(locked.path.read_text("utf-8").replace('"total_tokens": 11820', '"total_tokens": 11821'))

    report = locked.verify()

    assert not report.passed
    assert report.problems == [f"{locked.path}: {EDITED}"]
    assert [one.delta for one in report.differences] == [-1]
    assert locked.lock(accept=True, months=("2026-03",)).locked == []
    assert locked.lock(accept=True).locked == FEBRUARY
    assert locked.verify().passed


@pytest.mark.parametrize("damage", ["cut", "missing"])
def test_a_damaged_record_of_events_is_told(locked: Ledger, damage: str) -> None:
    (record,) = (locked.world.ledger.golden / "closed").iterdir()
    record.write_bytes(record.read_bytes()[:-9]) if damage == "cut" else record.unlink()

    report = locked.verify()

    assert (report.passed, report.months) == (False, [])
    assert report.problems[0].startswith(f"{record}: ")
    assert locked.lock().locked == []
    assert locked.lock(accept=True).locked == FEBRUARY
    assert locked.verify().passed


def test_a_damaged_record_still_tells_that_the_month_changed(locked: Ledger) -> None:
    (record,) = (locked.world.ledger.golden / "closed").iterdir()
    record.write_bytes(b"")
    locked.world.append(locked.world.claude_path(), claude("msg_8", "req_8", minutes=60))

    report = locked.verify()

    assert [(one.month, one.causes) for one in report.months] == [("2026-02", [])]


def test_a_damaged_lock_is_told_in_one_line(locked: Ledger) -> None:
    locked.path.write_bytes(locked.path.read_bytes()[:200])

    with pytest.raises(GoldenError, match=r"is no golden file .*--closed"):
        locked.verify()


# ------------------------------------------------------------------ the check


def test_the_check_is_skipped_while_nothing_is_locked(ledger: Ledger) -> None:
    found = inspect("closed_months_unchanged", Inspection(ledger.world.ledger, ledger.con))

    assert (found.passed, found.skipped) == (True, True)
    assert "`tokenledger bench golden lock --closed` locks those that are closed" in found.description


def test_the_check_remembers_a_pass_until_tables_or_lock_change(locked: Ledger) -> None:
    look = Inspection(locked.world.ledger, locked.con)

    assert inspect("closed_months_unchanged", look).description.startswith("All 33 figures")
    assert inspect("closed_months_unchanged", look).description == "Nothing it reads changed since it last passed."
    locked.path.write_text(locked.path.read_text("utf-8").replace("11820", "11821"))
    assert not inspect("closed_months_unchanged", look).passed


def test_the_check_names_month_cause_and_event(locked: Ledger) -> None:
    locked.world.append(locked.world.claude_path(), claude("msg_8", "req_8", input=3, output=4, minutes=60))
    locked.verify()

    found = inspect("closed_months_unchanged", Inspection(locked.world.ledger, locked.con))

    assert (found.passed, found.severity, found.blocking) == (False, "ERROR", False)
    assert (found.actual, found.expected) == (1, 0)
    assert found.description.startswith("2026-02 is not what was locked (1 events): new rows of a known log")
    assert (found.rows[0]["cause"], found.rows[0]["total_tokens_delta"]) == ("log_grew", 7)


def test_the_check_tells_a_damaged_lock(locked: Ledger) -> None:
    locked.path.write_bytes(b"{")

    found = inspect("closed_months_unchanged", Inspection(locked.world.ledger, locked.con))

    assert not found.passed
    assert str(locked.path) in found.description


# ------------------------------------------------------------------ the documentation


def test_every_cause_is_documented_by_its_sentence() -> None:
    page = (Path(__file__).parents[2] / "docs" / "contracts" / "golden.md").read_text("utf-8")

    assert [cause for cause, message in CAUSES.items() if f"| `{cause}` | {message} |" not in page] == []
