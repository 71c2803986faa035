"""Cursor: exports, chats in ``state.vscdb`` and loose JSON, and which of them stands."""

from __future__ import annotations

import gzip
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support import World, at, set_mtime, us
from tokenledger_dagster.clients import databases
from tokenledger_dagster.usage.evidence import explain

NEW = (
    "Date,Kind,Model,Max Mode,Input (w/ Cache Write),Input (w/o Cache Write),Cache Read,Output Tokens,Total Tokens,Cost"
)
OLD = "Date,Model,Input (w/ Cache Write),Input (w/o Cache Write),Cache Read,Output Tokens,Total Tokens,Cost,Cost to you"
TEAM = (
    "Date,User,Kind,Model,Max Mode,Input (w/ Cache Write),Input (w/o Cache Write),Cache Read,Output Tokens,"
    "Total Tokens,Requests"
)
CHAT = "11111111-0000-4000-8000-000000000001"


def row(
    minutes: float = 0,
    write: int = 0,
    fresh: int = 10,
    read: int = 0,
    output: int = 5,
    *,
    kind: str = "Included",
    cost: str = "0.01",
    model: str = "auto",
) -> str:
    """A row of today's personal export."""
    values = [at(minutes), kind, model, "No", write, fresh, read, output, write + fresh + read + output, cost]
    return ",".join(f'"{value}"' for value in values)


def bubble(
    name: str, input: Any = 100, output: Any = 20, *, minutes: float | None = 0, kind: int = 2, **told: Any
) -> tuple[str, str]:
    """A message's row."""
    found = {"_v": 3, "type": kind, "bubbleId": name, "text": "SECRET-ANSWER", "tokenCount": None, **told}
    if input is not None:
        found["tokenCount"] = {"inputTokens": input, "outputTokens": output}
    if minutes is not None:
        found["createdAt"] = at(minutes)
    return f"bubbleId:{CHAT}:{name}", json.dumps(found)


def chat(**told: Any) -> tuple[str, str]:
    """A chat's row."""
    return f"composerData:{CHAT}", json.dumps({"_v": 3, "composerId": CHAT, "name": "SECRET-NAME", **told})


class Cursor(World):
    """A home with Cursor's files."""

    @property
    def user(self) -> Path:
        return self.home_dir / ".config" / "Cursor" / "User"

    @property
    def state_path(self) -> Path:
        return self.user / "globalStorage" / "state.vscdb"

    def export(self, *lines: str, name: str = "usage.csv", end: str = "\n") -> Path:
        path = self.home_dir / ".config" / "tokscale" / "cursor-cache" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + end, "utf-8", newline="")
        return path

    def state(self, *rows: tuple[Any, Any], path: Path | None = None, table: str = "cursorDiskKV") -> Path:
        path = path or self.state_path
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path)) as connection, connection:
            for name in {"ItemTable", table}:
                connection.execute(
                    f"CREATE TABLE IF NOT EXISTS {name} (key TEXT UNIQUE ON CONFLICT REPLACE, value BLOB)"
                )
            connection.executemany(f"INSERT INTO {table} VALUES (?, ?)", rows)
        return path

    def workspace(self, folder: str, *chats: str, key: str = "composer.composerData", told: str = "folder") -> None:
        place = self.user / "workspaceStorage" / f"w{abs(hash(folder))}"
        listed = json.dumps({"allComposers": [{"composerId": one} for one in chats]})
        self.state((key, listed), path=place / "state.vscdb", table="ItemTable")
        (place / "workspace.json").write_text(json.dumps({told: folder}))

    def loose(self, name: str, *rows: Any) -> Path:
        path = self.home_dir / ".cursor" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(one) + "\n" for one in rows))
        return path

    def flags(self) -> list[list[str]]:
        return [list(record["flags"]) for record in self.records()]


@pytest.fixture
def world(tmp_path: Path) -> Cursor:
    return Cursor(tmp_path)


class TestExport:
    def test_the_four_columns_are_disjoint(self, world: Cursor) -> None:
        world.export(NEW, row(write=28_342, fresh=775, read=105_891, output=21_282, cost="0.19", kind="On-Demand"))
        world.sync()

        (event,) = world.events()
        assert event.buckets == (775, 28_342, 105_891, 21_282)
        assert (event.session, event.model_raw, event.time) == ("dashboard", "auto", at(0))
        (record,) = world.records()
        assert (str(record["reported_cost_usd"]), record["billing_kind"]) == ("0.190000000", "overage")
        assert record["flags"] == []

    def test_a_row_without_a_model_is_flagged(self, world: Cursor) -> None:
        world.export(NEW, row(model=""))
        world.sync()

        assert world.flags() == [["model_missing"]]

    def test_the_old_header_and_bare_dates(self, world: Cursor) -> None:
        world.export(OLD, "2025-02-01,gpt-4o,10,5,0,15,30,$0.10,$0.02", end="")
        world.sync()

        (event,) = world.events()
        assert event.buckets == (5, 10, 0, 15)
        assert event.time == "2025-02-01T12:00:00.000Z"
        assert str(world.records()[0]["reported_cost_usd"]) == "0.100000000"
        assert world.flags() == [["time_of_day_missing"]]

    def test_columns_are_found_by_name_in_any_order_and_new_ones_are_passed_over(self, world: Cursor) -> None:
        world.export(
            "\ufeffModel,Region,Output Tokens,Cache Read,Date,Input (w/o Cache Write),Input (w/ Cache Write)\r",
            f"gpt-5,eu,4,3,{at(0)},2,1\r",
        )
        world.sync()

        (event,) = world.events()
        assert (event.model_raw, event.buckets) == ("gpt-5", (2, 1, 3, 4))

    def test_a_users_address_is_hashed_and_nowhere_kept(self, world: Cursor) -> None:
        world.export(TEAM, f"{at(0)},Ada@Tidepool.Example,User API Key,gpt-5,No,0,10,0,5,15,1")
        world.export(TEAM, f"{at(1)},ada@tidepool.example,Included,gpt-5,No,0,10,0,5,15,1", name="two.csv")
        world.sync()

        one, two = world.records()
        assert one["account_hash"] == two["account_hash"] == "91038dd460e43c30a98af08472b356a8"
        assert {one["billing_kind"], two["billing_kind"]} == {"api", "included"}
        assert _holds(world, b"idepool.") == []

    @pytest.mark.parametrize(
        ("shown", "cost"),
        [
            ("0.19", "0.190000000"), ("$0.50", "0.500000000"), ('"$1,234.56"', "1234.560000000"),
            ("", None), ("NaN", None), ("nan", None), ("  ", None), ("Included", None), ("-", None), ("-1", None),
            ("0", None), ("1e999", None),
        ],
    )  # fmt: skip
    def test_costs(self, world: Cursor, shown: str, cost: str | None) -> None:
        world.export(NEW, f"{at(0)},Included,m,No,0,1,0,1,2,{shown}")
        world.sync()

        (record,) = world.records()
        assert (None if record["reported_cost_usd"] is None else str(record["reported_cost_usd"])) == cost

    @pytest.mark.parametrize(
        ("kind", "billing", "status"),
        [
            ("Included", "included", None), ("Included in Pro", "included", None), ("On-Demand", "overage", None),
            ("Usage-based", "overage", None), ("User API Key", "api", None), ("Errored, No Charge", None, "error"),
            ("Aborted, Not Charged", None, "error"), ("Free", None, None), ("", None, None),
        ],
    )  # fmt: skip
    def test_kinds(self, world: Cursor, kind: str, billing: str | None, status: str | None) -> None:
        world.export(NEW, row(kind=kind))
        world.sync()

        (record,) = world.records()
        assert (record["billing_kind"], record["status"]) == (billing, status)

    def test_a_cost_without_quotes_does_not_shift_the_counters(self, world: Cursor) -> None:
        world.export(NEW, f"{at(0)},Included,m,No,0,1,0,1,2,$1,234.56")
        world.sync()

        assert world.events()[0].buckets == (1, 0, 0, 1)
        assert world.flags() == [["fields_above_header"]]
        assert world.records()[0]["reported_cost_usd"] is None

    def test_hostile_rows_are_counted_by_reason_and_stop_nothing(self, world: Cursor) -> None:
        path = world.export(
            NEW,
            row(0),
            "",
            row(1, fresh=0, output=0),
            '"unclosed,Included',
            "2026-02-18T09:02:00Z,Included,m",
            f"{at(3)},Included,m,No,-5,NaN,99999999999,7,7,",
            f"{at(4)},Included,m,No,0,1.5,0,8,9,",
            "no time,Included,m,No,0,1,0,1,2,",
            "9999999999-01-01,Included,m,No,0,2,0,2,4,",
            f'"{at(5)}","Included","x' + "y" * 200_000 + '","No","0","1","0","1","2",""',
            f"{at(6)},Included,\udcff,No,0,3,0,3,6,".encode("utf-8", "surrogateescape").decode("latin-1"),
            NEW,
            f'{at(7)},Included,m,No,"1,234",0,0,0,1234,',
            row(8, fresh=4),
        )
        set_mtime(path, us(at(600)) / 1e6)
        summary = world.sync()

        assert summary.providers["cursor"].skipped == {"blank": 1, "invalid_csv": 3, "zero_usage": 1}
        assert [(event.time[11:16], event.buckets) for event in world.events()] == [
            ("09:00", (10, 0, 0, 5)),
            ("09:03", (0, 0, 0, 7)),
            ("09:04", (0, 0, 0, 8)),
            ("09:06", (3, 0, 0, 3)),
            ("09:07", (0, 1_234, 0, 0)),
            ("09:08", (4, 0, 0, 5)),
            ("19:00", (2, 0, 0, 2)),
            ("19:00", (1, 0, 0, 1)),
        ]
        assert {flag for flags in world.flags() for flag in flags} == {
            "counter_negative", "counter_not_a_count", "counter_overflow", "timestamp_from_file", "total_disagrees",
        }  # fmt: skip

    def test_invalid_utf8_keeps_its_row(self, world: Cursor) -> None:
        path = world.export(NEW)
        path.write_bytes(path.read_bytes() + f"{at(0)},Included,m\xff,No,0,1,0,1,2,\n".encode("latin-1"))
        world.sync()

        assert [event.buckets for event in world.events()] == [(1, 0, 0, 1)]
        assert world.flags() == [["invalid_utf8"]]

    def test_another_csv_is_told(self, world: Cursor) -> None:
        path = world.export("name,amount", "lunch,12")
        summary = world.sync()

        assert world.events() == []
        assert summary.problems == [f"{path}: this is no usage export of Cursor: it does not begin with its columns"]
        assert summary.providers["cursor"].skipped == {"unknown_header": 1}

    def test_a_missing_column_is_told(self, world: Cursor) -> None:
        path = world.export("Date,Model,Input (w/o Cache Write),Cache Read,Output Tokens", f"{at(0)},gpt-5,1,2,3")
        summary = world.sync()

        assert world.events()[0].buckets == (1, 0, 2, 3)
        assert summary.problems == [f"{path}: the export has no column inputwcachewrite; it counts as 0"]

    def test_a_row_that_is_still_being_written_waits(self, world: Cursor) -> None:
        path = world.export(NEW, row(0), row(1, fresh=77)[:-9], end="")
        assert world.sync().providers["cursor"].skipped == {"unfinished_last_line": 1}
        path.write_text("\n".join([NEW, row(0), row(1, fresh=77)]))
        assert world.sync().providers["cursor"].skipped == {}

        assert [event.input for event in world.events()] == [10, 77]

    @pytest.mark.parametrize("name", ["Usage Events.CSV", "usage.csv.gz"])
    def test_a_file_named_by_a_person(self, world: Cursor, name: str) -> None:
        path = world.home_dir / "Downloads" / name
        path.parent.mkdir()
        text = "\r\n".join([NEW, row(0), row(1)]).encode()
        path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
        world.sync(add_sources=[("cursor", str(path))])

        assert [event.time for event in world.events()] == [at(0), at(1)]

    def test_an_empty_file(self, world: Cursor) -> None:
        world.export("", end="")
        assert world.sync().problems == []


class TestOverlappingExports:
    def test_two_exports_that_overlap_are_booked_once(self, world: Cursor) -> None:
        world.export(NEW, row(3), row(2), row(1), name="a.csv")
        world.export(NEW, row(4), row(3), row(2), name="b.csv")
        world.sync()

        assert [event.time for event in world.events()] == [at(1), at(2), at(3), at(4)]
        assert world.rules() == {"cursor.copied_request": 2}

    def test_equal_rows_of_one_export_are_requests_of_their_own_and_exports_merge_by_the_most(
        self, world: Cursor
    ) -> None:
        world.export(NEW, row(1), row(1), name="a.csv")
        world.export(NEW, row(1), row(1), row(1), name="b.csv")
        world.sync()

        assert len(world.events()) == 3

    def test_a_request_is_the_same_in_a_personal_and_a_team_export_and_when_billed_otherwise(
        self, world: Cursor
    ) -> None:
        world.export(NEW, row(1, kind="Included", cost="0.10"), name="a.csv")
        world.export(NEW, row(1, kind="On-Demand", cost="0.12"), name="b.csv")
        world.export(TEAM, f"{at(1)},ada@tidepool.example,Included,auto,No,0,10,0,5,15,1", name="team.csv")
        world.sync()

        assert len(world.events()) == 1
        # a team's export tells no cost: the row that does stands
        assert world.rules() == {"cursor.copied_request": 1, "cursor.without_cost": 1}

    def test_an_export_written_anew_with_newer_rows_first_adds_only_these(self, world: Cursor) -> None:
        world.export(NEW, row(2), row(1))
        first = world.sync()
        world.export(NEW, row(4), row(2), row(2), row(1))
        second = world.sync()

        assert (first.providers["cursor"].scanned, second.providers["cursor"].scanned) == (2, 2)
        assert [event.time for event in world.events()] == [at(1), at(2), at(2), at(4)]

    def test_one_sync_or_many_in_any_order(self, tmp_path: Path) -> None:
        files = {"a.csv": [row(1), row(1), row(2)], "b.csv": [row(2), row(1), row(3)], "c.csv": [row(3), row(3)]}
        booked = []
        for number, order in enumerate(("abc", "cba", "bca")):
            world = Cursor(tmp_path / str(number))
            for letter in order:
                world.export(NEW, *files[f"{letter}.csv"], name=f"{letter}.csv")
                if number:
                    world.sync()
            world.sync()
            world.sync(no_cache=True)
            booked.append(world.booked().events)

        assert booked[0] == booked[1] == booked[2]
        assert [event.time for event in booked[0]] == [at(1), at(1), at(2), at(3), at(3)]


class TestChats:
    def test_an_answers_counts_are_a_request(self, world: Cursor) -> None:
        world.state(
            chat(createdAt=us(at(0)) // 1000, createdOnBranch="main", modelConfig={"modelName": "gpt-4o"}),
            bubble("p1", 0, 0, kind=1, requestId="r1", modelInfo={"modelName": "claude-4-sonnet"}),
            bubble("a1", 18_234, 512, minutes=1, requestId="r1"),
            bubble("a2", 300, 2, minutes=2, requestId="r2"),
        )
        world.workspace("file:///home/ada/code/tide%20pool", CHAT)
        assert world.sync().problems == []

        one, two = world.events()
        assert (one.session, one.buckets, one.time) == (CHAT, (18_234, 0, 0, 512), at(1))
        # the request's prompt names the model; without one the chat's setting does
        assert (one.model_raw, two.model_raw) == ("claude-4-sonnet", "gpt-4o")
        assert one.project == "/home/ada/code/tide pool"
        record = world.records()[0]
        assert (record["git_branch"], record["request_id"], record["message_id"]) == ("main", "r1", "a1")
        assert record["is_estimated"] is False

    def test_zeros_of_todays_builds_are_counted_and_nothing_is_estimated(self, world: Cursor) -> None:
        world.state(
            chat(contextTokensUsed=48_211, promptTokenBreakdown={"totalUsedTokens": 48_211}),
            bubble("p1", 0, 0, kind=1),
            bubble("a1", 0, 0),
            bubble("a2", None),
            bubble("a3", None, tokenCount=[1]),
        )
        summary = world.sync()

        assert world.events() == []
        assert summary.providers["cursor"].skipped == {"zero_usage": 1, "usage_null": 1, "usage_not_an_object": 1}

    def test_chats_of_before_bubbles_had_rows(self, world: Cursor) -> None:
        inline = [
            {"type": 1, "bubbleId": "c1"},
            {
                "type": 2,
                "bubbleId": "c2",
                "tokenCount": {"inputTokens": 900, "outputTokens": 40},
                "modelType": "gpt-4o",
            },
        ]
        mapped = {"c3": {"type": 2, "bubbleId": "c3", "tokenCount": {"inputTokens": 7, "outputTokens": 1}}}
        world.state(chat(createdAt=us(at(0)) // 1000, conversation=inline, conversationMap=mapped))
        world.sync()

        assert {event.model_raw: event.buckets for event in world.events()} == {
            "gpt-4o": (900, 0, 0, 40),
            None: (7, 0, 0, 1),
        }
        assert all("timestamp_fallback" in flags for flags in world.flags())

    def test_a_chat_moved_to_rows_of_its_own_counts_once(self, world: Cursor) -> None:
        message = {"type": 2, "bubbleId": "a1", "createdAt": at(0)}
        message["tokenCount"] = {"inputTokens": 100, "outputTokens": 20}  # type: ignore[assignment]
        world.state(chat(conversation=[message]), bubble("a1"))
        world.sync()
        before = len(world.records())
        world.sync(no_cache=True)

        assert len(world.events()) == 1
        assert len(world.records()) == before

    def test_a_streamed_answer_grows_and_its_last_state_counts(self, world: Cursor) -> None:
        world.state(chat(), bubble("a1", 100, 3))
        world.sync()
        world.state(bubble("a1", 100, 20))
        world.sync()
        world.state(bubble("a1", 100, 20, text="other text, same counts"))
        world.sync()

        assert [event.buckets for event in world.events()] == [(100, 0, 0, 20)]
        assert world.rules() == {"cursor.rewritten": 1}

    def test_only_new_rows_are_read_again(self, world: Cursor) -> None:
        world.state(chat(), *[bubble(f"a{number}", text="x" * 1_000) for number in range(50)])
        first = world.sync().providers["cursor"].bytes_read
        world.state(bubble("new", 7, 7))
        second = world.sync().providers["cursor"].bytes_read

        assert first > 50_000 > 1_000 > second > 0
        assert len(world.events()) == 51

    def test_a_new_answer_finds_the_model_of_a_prompt_read_before(self, world: Cursor) -> None:
        world.state(chat(), bubble("p1", 0, 0, kind=1, requestId="r1", modelInfo={"modelName": "gpt-5"}))
        world.sync()
        world.state(bubble("a1", requestId="r1"))
        world.sync()

        assert world.events()[0].model_raw == "gpt-5"

    def test_vacuum_loses_and_doubles_nothing(self, world: Cursor) -> None:
        path = world.state(chat(), *[bubble(f"a{number}") for number in range(50)])
        world.sync()
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("DELETE FROM cursorDiskKV WHERE rowid % 2 = 0")
            connection.execute("VACUUM")
        world.state(bubble("new", 7, 7))
        world.sync()

        assert len(world.events()) == 51

    def test_reading_everything_again_adds_nothing(self, world: Cursor) -> None:
        world.state(chat(), bubble("a1"), bubble("a2", minutes=1))
        world.sync()
        before = world.booked()
        assert world.sync(no_cache=True).providers["cursor"].scanned == 0
        assert world.booked() == before

    def test_what_a_tool_started_is_a_subagent_of_its_chat(self, world: Cursor) -> None:
        tool = "task-call_x\nfc_y"
        key = f"bubbleId:{tool}:e1"
        world.state((key, bubble("e1", 7, 7)[1]), chat(subComposerIds=[tool]))
        world.sync()

        (event,) = world.events()
        assert (event.session, event.buckets) == (CHAT, (7, 0, 0, 7))
        record = world.records()[0]
        assert (record["is_sidechain"], record["agent_id"]) == (True, "task-call_x fc_y")

    def test_bad_rows_are_counted_by_reason_and_stop_nothing(self, world: Cursor) -> None:
        path = world.state(
            (f"composerData:{CHAT}", None),
            (f"bubbleId:{CHAT}:null", None),
            (f"bubbleId:{CHAT}:bytes", b"\x00\x01\xff not json"),
            (f"bubbleId:{CHAT}:cut", bubble("cut")[1][:-20]),
            (f"bubbleId:{CHAT}:list", "[1, 2]"),
            (f"bubbleId:{CHAT}:number", 17),
            (f"bubbleId:{CHAT}:nan", '{"type": 2, "tokenCount": {"inputTokens": NaN, "outputTokens": 5}}'),
            bubble("odd", -3, "12", minutes=None, modelInfo="x", timingInfo=[1], requestId={}, workspaceUris="x"),
            bubble("huge", 10**30, 1, minutes=None),
            bubble("deep", 1, 1, minutes=3, modelInfo={"modelName": 5}),
            ("bubbleId:", "{}"),
            bubble("good", minutes=4),
        )
        set_mtime(path, us(at(60)) / 1e6)
        summary = world.sync()

        assert summary.providers["cursor"].skipped == {
            "null_value": 2, "invalid_json": 2, "not_an_object": 2,
        }  # fmt: skip
        assert sorted(event.buckets for event in world.events()) == [
            (0, 0, 0, 1), (0, 0, 0, 5), (0, 0, 0, 12), (1, 0, 0, 1), (100, 0, 0, 20),
        ]  # fmt: skip
        assert {flag for flags in world.flags() for flag in flags} == {
            "counter_negative", "counter_overflow", "counter_not_a_count", "timestamp_from_file", "model_missing",
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("told", "folder", "project"),
        [
            ("folder", "file:///home/ada/code/kelp", "/home/ada/code/kelp"),
            ("folder", "vscode-remote://ssh-remote%2Bbox/srv/kelp", "/srv/kelp"),
            ("folder", "file:///c%3A/work/kelp", "c:/work/kelp"),
            ("workspace", "file:///home/ada/code/kelp.code-workspace", "/home/ada/code"),
            ("other", "file:///home/ada", None),
        ],
    )
    def test_workspaces(self, world: Cursor, told: str, folder: str, project: str | None) -> None:
        world.state(chat(), bubble("a1"))
        world.workspace(folder, CHAT, key="composer.composerHeaders", told=told)
        world.sync()

        assert world.events()[0].project == project

    def test_a_message_may_name_its_folder_itself(self, world: Cursor) -> None:
        world.state(chat(), bubble("a1", workspaceUris=["file:///home/ada/code/kelp"]))
        world.sync()

        assert world.events()[0].project == "/home/ada/code/kelp"

    def test_a_missing_table_is_a_changed_layout_and_not_no_usage(self, world: Cursor) -> None:
        path = world.state(("x", "y"), table="ItemTable")
        (problem,) = world.sync().problems

        assert world.skipped() == {"schema_drift": 1}
        told = "its table cursorDiskKV is missing, so no usage is read from it; Cursor may have changed its layout"
        assert problem == f"{path}: {told}"

    def test_other_columns_are_told_too(self, world: Cursor) -> None:
        world.state_path.parent.mkdir(parents=True)
        with closing(sqlite3.connect(world.state_path)) as connection:
            connection.execute("CREATE TABLE cursorDiskKV (name TEXT, data BLOB)")
        (problem,) = world.sync().problems

        assert "its table cursorDiskKV has other columns than known" in problem

    def test_what_is_no_database_is_told_and_read_once_it_is_one(self, world: Cursor) -> None:
        world.state_path.parent.mkdir(parents=True)
        world.state_path.write_bytes(b"no database " * 100)
        (problem,) = world.sync().problems
        assert "the database cannot be read (file is not a database)" in problem
        world.state_path.unlink()
        world.state(chat(), bubble("a1"))

        assert world.sync().problems == []
        assert len(world.events()) == 1

    def test_one_that_stays_locked_is_told_and_read_later(self, world: Cursor, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(databases, "BUSY_SECONDS", 0.1)
        monkeypatch.setattr(databases, "COPY_BYTES", 1)
        path = world.state(chat(), bubble("a1"))
        with closing(sqlite3.connect(path, isolation_level=None)) as owner:
            owner.execute("BEGIN EXCLUSIVE")
            assert world.sync().problems == [
                f"{path}: the database cannot be read (database is locked); the next sync tries again; "
                "what could be read of it is kept"
            ]
        assert world.events() == []

        assert world.sync().problems == []
        assert len(world.events()) == 1

    def test_a_writer_with_a_log_is_followed(self, world: Cursor) -> None:
        path = world.state(chat())
        with closing(sqlite3.connect(path, isolation_level=None)) as owner:
            owner.execute("PRAGMA journal_mode = WAL")
            for number in range(3):
                owner.execute("INSERT INTO cursorDiskKV VALUES (?, ?)", bubble(f"a{number}"))
                owner.execute("BEGIN IMMEDIATE")  # a transaction is open while it is read
                assert world.sync().problems == []
                assert len(world.events()) == number + 1
                owner.execute("COMMIT")


class TestWhichSourceStands:
    def test_an_export_stands_for_all_the_time_between_its_rows(self, world: Cursor) -> None:
        world.state(
            chat(), bubble("before", minutes=-120), bubble("same hour", minutes=5), bubble("gap", minutes=600),
            bubble("after", minutes=1_500),
        )  # fmt: skip
        world.export(NEW, row(1_200), row(0))
        world.sync()

        assert [(event.session, event.time) for event in world.events()] == [
            (CHAT, at(-120)), ("dashboard", at(0)), ("dashboard", at(1_200)), (CHAT, at(1_500)),
        ]  # fmt: skip
        assert world.rules() == {"superseded_by_source": 2}

    def test_whatever_came_first(self, tmp_path: Path) -> None:
        booked = []
        for number in range(3):
            world = Cursor(tmp_path / str(number))
            for step in ("state", "export") if number else ("export", "state"):
                if step == "state":
                    world.state(chat(), bubble("a1", minutes=5), bubble("a2", minutes=300))
                else:
                    world.export(NEW, row(0), row(60, fresh=9))
                if number < 2:
                    world.sync()
            world.loose("usage.json", {"model": "gpt-5", "input_tokens": 3, "timestamp": at(301)})
            world.sync()
            booked.append([(event.event_id, event.buckets) for event in world.events()])

        assert booked[0] == booked[1] == booked[2]
        assert [buckets for _, buckets in booked[0]] == [(10, 0, 0, 5), (9, 0, 0, 5), (100, 0, 0, 20)]

    def test_a_lost_manifest_is_made_again_from_the_lake(self, world: Cursor) -> None:
        world.state(chat(), bubble("a1", minutes=-600), bubble("a2", minutes=30))
        world.export(NEW, row(60), row(60), row(0))
        world.loose("a.json", [{"model": "m", "input_tokens": 3, "time": at(900)}] * 2)
        world.loose("b.jsonl", {"model": "m", "input_tokens": 3, "time": at(901)})
        world.sync()
        before = world.booked().events
        for path in world.ledger.lake.glob("manifest.sqlite*"):
            path.unlink()
        world.sync(full=True)

        found = [(event.event_id, event.buckets) for event in world.events()]
        assert found == [(event.event_id, event.buckets) for event in before]
        assert len(found) == 7

    def test_days_without_a_time_cover_the_whole_day(self, world: Cursor) -> None:
        world.export(OLD, "2026-02-18,gpt-4o,10,5,0,15,30,$0.10,$0.02")
        world.state(chat(), bubble("a1", minutes=0), bubble("a2", minutes=24 * 60))
        world.sync()

        assert [event.session for event in world.events()] == ["dashboard", CHAT]

    def test_an_odd_date_covers_nothing(self, world: Cursor) -> None:
        world.export(NEW, row(0), "1970-01-01T00:00:00Z,Included,m,No,0,1,0,1,2,", row(60 * 24 * 365 * 30))
        world.state(chat(), bubble("a1", minutes=-600), bubble("a2", minutes=600))
        world.sync()

        assert len([event for event in world.events() if event.session == CHAT]) == 2


class TestLooseJson:
    def test_it_is_the_last_resort_and_says_so(self, world: Cursor) -> None:
        world.loose("stats/usage.json", [
            {"id": "u1", "model": "gpt-5", "timestamp": at(0), "usage": {
                "prompt_tokens": 100, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 60}}},
            {"model": "claude-4-sonnet", "createdAt": us(at(1)) // 1000, "input_tokens": 5, "output_tokens": 1,
             "cache_read_input_tokens": 7, "cache_creation_input_tokens": 8, "session_id": "s1"},
        ])  # fmt: skip
        path = world.loose("log.jsonl", {"type": "x"}, {"model": "m", "input_tokens": 3, "time": at(2)})
        summary = world.sync()

        assert [(event.model_raw, event.buckets) for event in world.events()] == [
            ("gpt-5", (40, 0, 60, 9)), ("claude-4-sonnet", (5, 8, 7, 1)), ("m", (3, 0, 0, 0)),
        ]  # fmt: skip
        unnamed = ["cursor_json_fallback", "session_from_file"]
        assert world.flags() == [unnamed, ["cursor_json_fallback"], unnamed]
        told = "records of loose JSON were read as a last resort; they count only in hours that no usage export and no "
        told += "chat with token counts covers"
        assert sorted(summary.problems) == [f"{path}: 1 {told}", f"{path.parent}/stats/usage.json: 2 {told}"]

    def test_it_gives_way_to_chats_and_to_the_time_between_them(self, world: Cursor) -> None:
        world.state(chat(), bubble("a1", minutes=0), bubble("a2", minutes=600))
        world.loose(
            "log.jsonl",
            *[{"model": "m", "input_tokens": number, "time": at(number)} for number in (1, 300, 700)],
        )
        world.sync()

        assert [event.session for event in world.events()] == [CHAT, CHAT, "log"]
        assert world.rules() == {"superseded_by_source": 2}

    def test_read_again_and_grown(self, world: Cursor) -> None:
        one = {"model": "m", "input_tokens": 3, "time": at(2)}
        world.loose("a.json", [one, one])
        world.loose("b.jsonl", one)
        world.sync()
        world.loose("a.json", [one, one, {**one, "input_tokens": 4}])
        world.sync()
        world.sync(no_cache=True)

        assert sorted(event.input for event in world.events()) == [3, 3, 3, 4]

    @pytest.mark.parametrize(
        "data", [b"", b"{", b"[1", b'"tokens"', b"\xff\xfe", b'{"model": "m", "input_tokens": "x"}']
    )
    def test_bad_documents_stop_nothing(self, world: Cursor, data: bytes) -> None:
        world.loose("a.json").write_bytes(data)
        world.sync()

        assert world.events() == []

    def test_extensions_and_folders_of_others_are_not_read(self, world: Cursor) -> None:
        one = {"model": "m", "input_tokens": 3, "time": at(2)}
        world.loose("extensions/other/usage.json", one)
        world.loose("worktrees/kelp/usage.jsonl", one)
        other = world.home_dir / "Downloads" / "log.jsonl"
        other.parent.mkdir()
        other.write_text(json.dumps(one))
        world.sync(add_sources=[("cursor", str(other.parent))])

        assert world.events() == []
        world.sync(add_sources=[("cursor", str(other))])
        assert world.events() == []  # read once already, as part of the folder


class TestSecretsAndEvidence:
    def test_no_secret_and_no_text_is_kept(self, world: Cursor) -> None:
        world.state(("cursorAuth/accessToken", "SECRET-TOKEN"), table="ItemTable")
        world.state(
            chat(), bubble("a1"), ("cursorAuth/refreshToken", "SECRET-TOKEN"), ("bubbleId:x:bad", "SECRET {not json"),
            ("agentKv:blob:1", "SECRET-PROMPT"),
        )  # fmt: skip
        world.workspace("file:///home/ada/kelp", CHAT)
        world.export(TEAM, f"{at(60)},SECRET@x.example,Included,m,No,0,1,0,1,2,SECRET", 'SECRET bad row,"')
        world.loose("a.json", {"model": "m", "input_tokens": 1, "time": at(900), "prompt": "SECRET"})
        world.sync()

        assert len(world.events()) == 3
        assert _holds(world, b"SECRET") == []

    def test_explain_finds_the_bytes_again(self, world: Cursor) -> None:
        world.state(chat(), bubble("a1", minutes=-600))
        world.export(NEW, row(1), row(1))
        world.loose("a.json", {"rows": [{"model": "m", "input_tokens": 1, "time": at(900)}]})
        world.sync()
        world.export(NEW, row(2), row(1), row(1))  # their places have moved
        ids = [event.event_id for event in world.events()]

        assert [one.status for one in explain(world.ledger, ids, verify=True)] == ["verified"] * 4
        world.export(NEW, row(2), row(1))
        world.state(bubble("a1", 5))
        assert [one.status for one in explain(world.ledger, ids, verify=True)] == [
            "source_gone", "verified", "source_gone", "verified",
        ]  # fmt: skip


def _holds(world: World, secret: bytes) -> list[str]:
    """Places of the ledger that hold these bytes: files, and what they hold packed."""
    world.events()
    found = [str(record) for record in world.records() if secret in str(record).encode()]
    return found + [
        str(path) for path in world.ledger.root.rglob("*") if path.is_file() and secret in path.read_bytes()
    ]
