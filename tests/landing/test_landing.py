"""What a lander does with a proxy's answers: everything that was popped is on the disk, once, without its secrets."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.landing.proxy_server import KEY, RETENTION_SECONDS, Proxy, running
from tests.landing.rows import SECRETS, detail, export, queued
from tests.support import World
from tokenledger_dagster.cli.main import main
from tokenledger_dagster.errors import HomeKindError, SettingsError, TokenLedgerError, UsageError
from tokenledger_dagster.home import ensure_home
from tokenledger_dagster.landing import cliproxyapi as landing
from tokenledger_dagster.landing import folder as landing_folder
from tokenledger_dagster.landing.cliproxyapi import Lander, Options
from tokenledger_dagster.landing.folder import LandingFolder
from tokenledger_dagster.landing.management import (
    KEY_VARIABLE,
    Management,
    NoSuchPageError,
    RefusedError,
    UnreachableError,
    management_key,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with running() as found:
        yield found


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A home whose ledger is where the variable says."""
    return World(tmp_path, TOKENLEDGER_HOME=str(tmp_path / "ledger"))


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landing, "FIRST_PAUSE_SECONDS", 0.01)


def lander(world: World, proxy: Proxy, notes: list[str] | None = None, timeout: float = 5, **options: Any) -> Lander:
    told = notes if notes is not None else []
    return Lander(world.ledger, Management(proxy.url, KEY, timeout), Options(**options), note=told.append)


def landed(world: World) -> list[dict[str, Any]]:
    files = LandingFolder(world.ledger.landing / "cliproxyapi").files()
    return [json.loads(line) for path in files for line in path.read_bytes().splitlines() if line.strip()]


def names(world: World) -> list[str]:
    return [line["record"].get("request_id") for line in landed(world)]


class TestQueue:
    def test_what_is_popped_is_landed_and_then_booked(self, world: World, proxy: Proxy) -> None:
        proxy.push(*(queued(f"r{number}", number) for number in range(5)))

        summary = lander(world, proxy, count=2).run()
        world.sync()

        assert (summary.answers, summary.landed) == (3, 5)
        assert names(world) == ["r0", "r1", "r2", "r3", "r4"]
        assert [event.buckets for event in world.events()] == [(3000, 0, 9000, 800)] * 5
        assert proxy.queue == []

    def test_an_empty_queue_lands_nothing_and_leaves_no_file(self, world: World, proxy: Proxy) -> None:
        summary = lander(world, proxy).run()

        assert (summary.answers, summary.landed, landed(world)) == (1, 0, [])

    def test_what_the_queue_forgot_is_gone(self, world: World, proxy: Proxy) -> None:
        proxy.push(queued("old"))
        proxy.clock = lambda: time.monotonic() + RETENTION_SECONDS + 1
        proxy.push(queued("new", 1))
        lander(world, proxy).run()

        assert names(world) == ["new"]

    def test_a_run_ends_after_the_answers_it_was_given(self, world: World, proxy: Proxy) -> None:
        proxy.push(*(queued(f"r{number}", number) for number in range(6)))

        assert lander(world, proxy, count=2, max_batches=2).run().landed == 4
        assert len(proxy.queue) == 2

    def test_a_run_that_looks_again_and_again_ends_after_its_answers(self, world: World, proxy: Proxy) -> None:
        proxy.push(queued("r1"))

        summary = lander(world, proxy, every=0.01, max_batches=4).run()

        assert (summary.answers, summary.landed) == (4, 1)

    def test_a_request_told_twice_is_landed_twice_and_booked_once(self, world: World, proxy: Proxy) -> None:
        proxy.push(queued("r1"), queued("r1"))
        lander(world, proxy).run()
        world.sync()

        assert (names(world), len(world.events())) == (["r1", "r1"], 1)
        assert world.rules() == {"cliproxyapi.same_request": 1}

    def test_control_messages_are_counted_and_not_written(self, world: World, proxy: Proxy) -> None:
        proxy.push({"support_refresh": True}, queued("r1"), {"refresh": True})
        summary = lander(world, proxy).run()

        assert (summary.control_messages, names(world)) == (2, ["r1"])

    def test_an_object_nobody_understands_keeps_its_numbers(self, world: World, proxy: Proxy) -> None:
        proxy.push({"quota": {"left": 7, "note": "planted-unknown-text"}, "sk-PLANTEDKEY00112233445566": 1})
        summary = lander(world, proxy).run()
        world.sync()

        (line,) = landed(world)
        assert (summary.unknown, line["kind"], line["record"]["quota"]) == (1, "unknown", {"left": 7})
        assert world.skipped() == {"unknown_record": 1}

    def test_an_element_that_is_no_object_leaves_its_digest(self, world: World, proxy: Proxy) -> None:
        proxy.push("planted-unknown-text {", queued("r1"))
        summary = lander(world, proxy).run()

        assert (summary.unreadable, summary.landed) == (1, 1)
        assert [line["kind"] for line in landed(world)] == ["unreadable", "usage"]
        assert landed(world)[0]["bytes"] == 22

    def test_failures_without_tokens_are_landed_though_they_are_no_events(self, world: World, proxy: Proxy) -> None:
        nothing = queued("r1", failed=True, tokens={"total_tokens": 0}, token_breakdown=None, fail={"status_code": 429})
        proxy.push(nothing)
        lander(world, proxy).run()
        world.sync()

        (line,) = landed(world)
        assert (line["record"]["failed"], line["record"]["fail"], line["record"]["latency_ms"]) == (
            True,
            {"status_code": 429},
            1500,
        )
        assert (world.events(), world.skipped()) == ([], {"zero_usage": 1})


class TestBrokenAnswers:
    def test_of_an_answer_that_breaks_off_every_whole_record_is_landed(self, world: World, proxy: Proxy) -> None:
        records = [queued(f"r{number}", number) for number in range(3)]
        proxy.push(*records)
        proxy.cut_after = len(json.dumps(records[:2])) + 10
        notes: list[str] = []

        summary = lander(world, proxy, notes).run()

        assert (summary.cut_answers, names(world)) == (1, ["r0", "r1"])
        assert "an answer broke off (it ends early); 2 of its records are landed" in notes[0]

    def test_an_answer_that_comes_too_slowly_is_kept_as_far_as_it_came(self, world: World, proxy: Proxy) -> None:
        proxy.push(*(queued(f"r{number}", number) for number in range(3)))
        proxy.trickle = 0.05
        notes: list[str] = []

        summary = lander(world, proxy, notes, timeout=1.3).run()

        assert summary.cut_answers == 1
        assert "it came too slowly" in notes[0]
        assert len(landed(world)) in (1, 2)

    def test_an_answer_that_never_comes_ends_in_one_line(self, world: World, proxy: Proxy) -> None:
        proxy.pause = 0.5

        with pytest.raises(UnreachableError, match="no answer in time"):
            lander(world, proxy, timeout=0.05).run()

    def test_a_huge_answer_is_read_up_to_the_bound(
        self, world: World, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        records = [queued(f"r{number}", number) for number in range(40)]
        monkeypatch.setattr(landing, "ANSWER_BYTES", len(json.dumps(records[:10])) + 50)
        proxy.push(*records)

        summary = lander(world, proxy).run()

        assert (summary.landed, summary.cut_answers) == (10, 1)

    @pytest.mark.parametrize("body", [b"<html>planted-unknown-text</html>", b"[", b"\xff\xfe", b"[1,"])
    def test_an_answer_that_is_no_json_keeps_nothing_and_is_asked_again(
        self, world: World, proxy: Proxy, body: bytes
    ) -> None:
        proxy.push(queued("r1"))
        proxy.body = body
        summary = lander(world, proxy).run()

        assert (summary.cut_answers, summary.answers) == (1, 2)

    @pytest.mark.parametrize("body", [b"null", b"", b"[]", b" \n"])
    def test_an_answer_without_anything_is_an_empty_queue(self, world: World, proxy: Proxy, body: bytes) -> None:
        proxy.body = body

        assert lander(world, proxy).run().answers == 1

    def test_a_number_json_does_not_know_loses_no_other_record(self, world: World, proxy: Proxy) -> None:
        good = json.dumps(queued("r1")).encode()
        proxy.body = b"[" + good.replace(b"12000", b"NaN", 1) + b"," + json.dumps(queued("r2", 1)).encode() + b"]"

        assert lander(world, proxy).run().landed == 2


class TestRefusals:
    def test_a_wrong_key_is_asked_with_once_and_names_the_remedy(self, world: World, proxy: Proxy) -> None:
        wrong = Lander(world.ledger, Management(proxy.url, "wrong-key-77", 5), Options())

        with pytest.raises(RefusedError, match="HTTP 401, the management key is not accepted") as told:
            wrong.run()

        assert (len(proxy.asked), told.value.exit_code) == (1, 4)
        assert "wrong-key-77" not in str(told.value)

    def test_a_forbidden_client_is_told_what_to_allow(self, world: World, proxy: Proxy) -> None:
        proxy.fail = [403]

        with pytest.raises(RefusedError, match="allow-remote"):
            lander(world, proxy).run()

    def test_before_version_7_the_export_is_the_way(self, world: World, proxy: Proxy) -> None:
        proxy.export = export({})

        with pytest.raises(NoSuchPageError, match="before version 7 land the export with --export"):
            lander(world, proxy).run()

    def test_a_redirect_is_not_followed(self, world: World, proxy: Proxy) -> None:
        proxy.fail = [302]

        with pytest.raises(RefusedError, match="HTTP 302"):
            lander(world, proxy).run()
        assert len(proxy.asked) == 1

    def test_a_proxy_in_trouble_is_asked_again(self, world: World, proxy: Proxy) -> None:
        proxy.push(queued("r1"))
        proxy.fail = [500, 503]
        summary = lander(world, proxy).run()

        assert (summary.retries, summary.landed) == (2, 1)

    def test_a_proxy_that_stays_in_trouble_ends_the_run(self, world: World, proxy: Proxy) -> None:
        proxy.fail = [500] * 10

        with pytest.raises(UnreachableError, match="HTTP 500"):
            lander(world, proxy).run()
        assert len(proxy.asked) == landing.TRIES

    def test_nobody_there_is_told_after_a_few_tries(self, world: World) -> None:
        with running() as gone:
            pass

        with pytest.raises(UnreachableError, match="Connection refused; is the proxy running there"):
            lander(world, gone).run()

    @pytest.mark.parametrize(
        "url", ["ftp://host", "http://", "http://user:pw@host", "http://host?key=1", "http://host:99999"]
    )
    def test_an_address_that_cannot_be_used_is_refused(self, url: str) -> None:
        with pytest.raises(UsageError):
            Management(url, KEY, 1)

    def test_an_address_may_name_a_path(self) -> None:
        assert Management("https://proxy.example/cpa/v0/management/", KEY, 1).shown == "https://proxy.example/cpa"

    def test_only_a_plain_connection_over_a_network_exposes_the_key(self) -> None:
        exposed = [Management(url, KEY, 1).is_exposed for url in ("http://10.0.0.1:1", "https://h", "http://[::1]:1")]

        assert exposed == [True, False, False]


class TestKey:
    def test_it_comes_from_its_variable_or_another_one(self) -> None:
        assert management_key({KEY_VARIABLE: f" {KEY}\n"}) == KEY
        assert management_key({"OTHER": KEY}, "OTHER") == KEY

    def test_it_comes_from_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "key").write_text(f"{KEY}\n")

        assert management_key({}, file=tmp_path / "key") == KEY

    @pytest.mark.parametrize("value", ["", "  ", "two words", "line\nline", "clé"])
    def test_what_is_no_key_is_refused_without_quoting_it(self, value: str) -> None:
        with pytest.raises(SettingsError) as told:
            management_key({KEY_VARIABLE: value})
        assert not value.strip() or value not in str(told.value)


class TestFolder:
    def test_folder_and_files_are_their_owners_alone(self, world: World, proxy: Proxy) -> None:
        os.umask(0o022)
        proxy.push(queued())
        lander(world, proxy).run()

        folder = world.ledger.landing / "cliproxyapi"
        (path,) = LandingFolder(folder).files()
        assert (stat.S_IMODE(folder.stat().st_mode), stat.S_IMODE(path.stat().st_mode)) == (0o700, 0o600)

    def test_a_line_that_a_kill_cut_does_not_spoil_the_next(self, world: World, proxy: Proxy) -> None:
        proxy.push(queued("r1"))
        lander(world, proxy).run()
        (path,) = LandingFolder(world.ledger.landing / "cliproxyapi").files()
        path.write_bytes(path.read_bytes()[:-40])
        world.sync()
        proxy.push(queued("r2", 2))
        lander(world, proxy).run()
        world.sync()

        assert [record["request_id"] for record in world.records()] == ["r2"]
        assert world.skipped() == {"truncated_json": 1}

    def test_two_landers_do_not_ask_at_once(self, world: World, proxy: Proxy) -> None:
        proxy.push(queued())
        folder = LandingFolder(world.ledger.landing / "cliproxyapi")
        folder.make_ready()
        notes: list[str] = []
        with folder.lock() as held:
            summary = lander(world, proxy, notes).run()

        assert (held, summary.busy, proxy.asked) == (True, True, [])
        assert notes == [f"another process lands into {folder.path}; nothing to do here"]

    def test_without_room_nothing_is_taken(self, world: World, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(landing_folder, "MIN_FREE_BYTES", 1 << 60)

        with pytest.raises(TokenLedgerError, match="free some space"):
            lander(world, proxy).run()
        assert proxy.asked == []

    def test_a_disk_that_refuses_once_is_asked_again(
        self, world: World, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        proxy.push(queued("r1"))
        write, refused = os.write, []

        def failing(handle: int, data: bytes) -> int:
            if not refused:
                refused.append(write(handle, bytes(data)[:20]))
                raise OSError(28, "No space left on device")
            return write(handle, data)

        monkeypatch.setattr(landing_folder.os, "write", failing)
        lander(world, proxy).run()
        monkeypatch.undo()
        world.sync()

        assert len(world.events()) == 1

    def test_a_disk_that_goes_on_refusing_says_what_is_lost(
        self, world: World, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        proxy.push(queued("r1"), queued("r2"))

        def failing(handle: int, data: bytes) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(landing_folder.os, "write", failing)
        with pytest.raises(TokenLedgerError, match="2 records could not be written and are lost; free some space"):
            lander(world, proxy).run()

    def test_a_sample_home_takes_no_usage_of_ones_own(self, tmp_path: Path, proxy: Proxy) -> None:
        home = ensure_home(tmp_path / "sample", "sample")

        with pytest.raises(HomeKindError, match="set TOKENLEDGER_HOME"):
            Lander(home, Management(proxy.url, KEY, 1), Options())

    def test_a_users_home_reads_what_was_landed_in_it(self, tmp_path: Path, proxy: Proxy) -> None:
        world = World(tmp_path, TOKENLEDGER_HOME=str(tmp_path / "mine"))
        world.ledger = ensure_home(tmp_path / "mine", "user")
        proxy.push(queued())
        lander(world, proxy).run()
        world.sync()

        assert len(world.events()) == 1


class TestExport:
    def test_overlapping_exports_land_each_detail_once(self, world: World, proxy: Proxy) -> None:
        proxy.export = export({"gpt-5": [detail(1), detail(2)]})
        lander(world, proxy, export=True).run()
        proxy.export = export({"gpt-5": [detail(2), detail(3)]})
        summary = lander(world, proxy, export=True).run()
        world.sync()

        assert (summary.landed, summary.known) == (1, 1)
        assert [event.buckets for event in world.events()] == [(100, 0, 20, 30)] * 3

    def test_a_landed_detail_is_the_request_of_the_export_itself(self, world: World, proxy: Proxy) -> None:
        proxy.export = export({"gpt-5": [detail(1)], "claude-opus-4-6": [detail(1, auth_index="acct-x")]})
        lander(world, proxy, export=True).run()
        saved = world.write(world.home_dir / "saved" / "export.json", json.dumps(proxy.export))
        world.sync(add_sources=(("cliproxyapi", str(saved.parent)),))

        assert (len(world.events()), world.rules()) == (2, {"cliproxyapi.copied_request": 2})

    def test_from_version_7_on_there_is_no_export(self, world: World, proxy: Proxy) -> None:
        with pytest.raises(NoSuchPageError, match="leave --export out"):
            lander(world, proxy, export=True).run()


# ------------------------------------------------------------------ the command


def run_cli(world: World, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    process = start_cli(world, *arguments, **environ)
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def start_cli(world: World, *arguments: str, **environ: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tokenledger_dagster.cli.main", *arguments]
    kept = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TZ": "UTC", KEY_VARIABLE: KEY, **world.environ}
    return subprocess.Popen(command, env={**kept, **environ}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


class TestCommand:
    def test_land_then_sync_books_exactly_what_was_popped(self, world: World, proxy: Proxy) -> None:
        proxy.push(*(queued(f"r{number}", number) for number in range(7)))

        done = run_cli(world, "proxy", "land", "--url", proxy.url, "--count", "3", "--format", "json")
        world.sync()

        assert (done.returncode, json.loads(done.stdout)["landed"]) == (0, 7)
        assert sorted(event.request for event in requests(world)) == [f"r{number}" for number in range(7)]

    def test_a_wrong_key_exits_4_in_one_line(self, world: World, proxy: Proxy) -> None:
        done = run_cli(world, "proxy", "land", "--url", proxy.url, **{KEY_VARIABLE: "wrong-key-77"})

        assert done.returncode == 4
        assert done.stderr.count("\n") == 1
        assert "remote-management.secret-key" in done.stderr
        assert "wrong-key-77" not in done.stdout + done.stderr

    def test_without_a_key_nothing_is_asked(self, world: World, proxy: Proxy) -> None:
        done = run_cli(world, "proxy", "land", "--url", proxy.url, **{KEY_VARIABLE: ""})

        assert (done.returncode, proxy.asked) == (4, [])
        assert "CLIPROXYAPI_MANAGEMENT_KEY is not set" in done.stderr

    @pytest.mark.parametrize(
        "odd", [("--count", "0"), ("--every", "0"), ("--max-batches", "0"), ("--timeout", "nan"), ("--every", "inf")]
    )
    def test_numbers_that_make_no_sense_are_usage_errors(self, odd: tuple[str, str]) -> None:
        assert main(["proxy", "land", *odd]) == 2

    def test_no_secret_is_in_any_byte_of_the_home_or_the_output(self, world: World, proxy: Proxy) -> None:
        proxy.push(
            queued("r1"),
            queued("r2", 1, endpoint="POST /v1/x?key=sk-PLANTEDKEY00112233445566"),
            queued(None, 2, extra={"sk-PLANTEDKEY00112233445566": {"who": "ada.planted@example.org"}}),
            {"what": "planted-unknown-text", "ada.planted@example.org": 3},
            "planted-unknown-text",
        )
        outputs = [run_cli(world, "proxy", "land", "--url", proxy.url)]
        outputs.append(run_cli(world, "proxy", "land", "--url", proxy.url, "--export"))
        proxy.export = export({"gpt-5": [detail(1)]})
        outputs.append(run_cli(world, "proxy", "land", "--url", proxy.url, "--export", "--format", "json"))
        saved = world.write(world.home_dir / "saved" / "export.json", json.dumps(proxy.export))
        world.write(world.home_dir / "saved" / "queue.jsonl", queued("r9"))
        outputs.append(run_cli(world, "sync", "--source", f"cliproxyapi={saved.parent}"))
        outputs.append(run_cli(world, "events"))
        outputs.append(run_cli(world, "explain", "--kind", "client", "--key", "cliproxyapi", "--verify"))

        written = {path: path.read_bytes() for path in world.ledger.root.rglob("*") if path.is_file()}
        told = "".join(done.stdout + done.stderr for done in outputs)
        assert len(world.events()) == 5
        assert [secret for secret in SECRETS for data in written.values() if secret.encode() in data] == []
        assert [secret for secret in SECRETS if secret in told] == []

    def test_a_kill_between_pop_and_landing_loses_one_answer_at_most(self, world: World, proxy: Proxy) -> None:
        proxy.push(*(queued(f"r{number}", number) for number in range(9)))
        run_cli(world, "proxy", "land", "--url", proxy.url, "--count", "3", "--max-batches", "1")
        proxy.popped.clear()
        proxy.trickle = 0.05  # popped, and on its way
        process = start_cli(world, "proxy", "land", "--url", proxy.url, "--count", "3")
        assert proxy.popped.wait(20)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        proxy.trickle = 0
        run_cli(world, "proxy", "land", "--url", proxy.url, "--count", "3")
        world.sync()

        assert names(world) == ["r0", "r1", "r2", "r6", "r7", "r8"]
        assert len(world.events()) == 6

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
    def test_a_stop_waits_for_the_answer_in_flight(
        self, world: World, proxy: Proxy, number: signal.Signals, code: int
    ) -> None:
        proxy.push(*(queued(f"r{number}", number) for number in range(4)))
        proxy.trickle = 0.02
        process = start_cli(world, "proxy", "land", "--url", proxy.url, "--count", "2", "--every", "60")
        assert proxy.popped.wait(20)
        process.send_signal(number)
        out, err = process.communicate(timeout=20)

        assert (process.returncode, names(world)) == (code, ["r0", "r1"])
        assert "stopping once the answer in flight is landed" in err
        assert "landed 2 records" in out

    def test_landers_at_work_at_once_lose_and_double_nothing(self, world: World, proxy: Proxy) -> None:
        proxy.push(*(queued(f"r{number}", number) for number in range(40)))
        at_work = [start_cli(world, "proxy", "land", "--url", proxy.url, "--count", "1") for _ in range(3)]
        codes = [process.wait(60) for process in at_work]
        for process in at_work:
            process.communicate()
        run_cli(world, "proxy", "land", "--url", proxy.url)

        assert codes == [0, 0, 0]
        assert sorted(names(world)) == sorted(f"r{number}" for number in range(40))


class Request:
    """A booked request."""

    def __init__(self, request: str) -> None:
        self.request = request


def requests(world: World) -> list[Request]:
    """Every booked request by its id."""
    winners = {rid for (rid,) in world.query("SELECT rid FROM events")}
    return [Request(record["request_id"]) for record in world.records() if record["rid"] in winners]
