from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.support import World, claude, jsonl, meta, tokens, turn


class TestSync:
    def test_the_summary_is_the_contracts(self, run: Run) -> None:
        summary = run("sync", "--format", "json").json

        assert {
            "schema_version", "generated_at", "started_at", "finished_at", "duration_ms", "providers", "sources",
            "cache", "emitted_total", "deduped_total", "output",
        } <= set(summary)  # fmt: skip
        assert summary["providers"]["claude-code"] | {"bytes_read": 0} == {
            "scanned": 4, "emitted": 3, "duplicates": 1, "skipped": {}, "bytes_read": 0,
        }  # fmt: skip
        assert summary["sources"] == {"seen": 2, "new": 2, "changed": 0, "unchanged": 0, "missing": 0}
        assert (summary["emitted_total"], summary["deduped_total"]) == (4, 1)

    def test_the_summary_is_in_the_home_too(self, world: World, run: Run) -> None:
        summary = run("sync", "--format", "json").json

        assert json.loads(world.ledger.ingest_summary_path.read_text()) == summary

    def test_a_second_sync_finds_nothing(self, run: Run) -> None:
        run("sync")
        summary = run("sync", "--format", "json").json

        assert summary["sources"]["unchanged"] == 2
        assert summary["providers"] == {}

    def test_the_table_says_what_was_found(self, run: Run) -> None:
        text = run("sync").out

        assert "2 files: 2 new" in text
        assert "the ledger holds 4 events and 1 duplicates" in text

    @pytest.mark.parametrize("option", ["--no-cache", "--full"])
    def test_reading_anew_changes_nothing(self, world: World, run: Run, option: str) -> None:
        run("sync")
        before = world.booked()
        run("sync", option)

        assert world.booked() == before

    def test_a_source_is_remembered(self, world: World, run: Run, tmp_path: Path) -> None:
        saved = tmp_path / "saved"
        world.write(saved / "a.jsonl", meta("a"), turn(), tokens((10, 0, 1)))
        run("sync", "--source", f"codex={saved}")
        world.write(saved / "b.jsonl", meta("b"), turn(), tokens((20, 0, 1), minutes=1))
        run("sync")

        assert {"a", "b"} <= {event.session for event in world.events()}

    def test_only_a_named_client_is_read(self, world: World, run: Run) -> None:
        run("sync", "--client", "codex")

        assert {event.client for event in world.events()} == {"codex"}

    @pytest.mark.parametrize(
        ("arguments", "remedy"),
        [
            (["--client", "emacs"], "known are"),
            (["--source", "/backup"], "CLIENT=PATH"),
            (["--source", "emacs=/backup"], "known are"),
            (["--source", "codex="], "CLIENT=PATH"),
        ],
    )
    def test_a_usage_error_names_the_remedy(self, run: Run, arguments: list[str], remedy: str) -> None:
        found = run("sync", *arguments)

        assert found.code == 2
        assert remedy in found.err

    def test_a_problem_is_one_line_on_stderr(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CODEX_HOME", "/nowhere/at/all")
        found = run("sync", "--format", "json")

        assert found.code == 0
        assert "CODEX_HOME=/nowhere/at/all" in found.err
        assert found.json["problems"] != []


class TestExplain:
    def explained(self, run: Run, *arguments: str) -> tuple[int, dict[str, object]]:
        found = run("explain", *arguments, "--format", "json")
        return found.code, found.json

    @pytest.fixture(autouse=True)
    def filled(self, world: World, run: Run) -> None:
        run("sync")

    def test_a_figure_is_the_sum_of_its_events(self, run: Run) -> None:
        code, found = self.explained(run, "--kind", "daily", "--key", "2026-02-18")
        report = run("report", "daily", "--format", "json").json["rows"][0]

        assert code == 0
        assert found["figure"]["total_tokens"] == report["total_tokens"]
        assert found["figure"]["event_count"] == report["event_count"] == len(found["events"])
        assert sum(event["list_price_usd"] for event in found["events"]) == pytest.approx(report["list_price_usd"])

    def test_an_event_shows_every_copy_with_its_rule_and_place(self, world: World, run: Run) -> None:
        (event_id,) = [event.event_id for event in world.events() if event.copies]
        _, found = self.explained(run, event_id)
        (event,) = found["events"]
        data = world.claude_path().read_bytes()

        assert [one["rule"] for one in event["evidence"]] == [None, "claude.stream_copy"]
        for one in event["evidence"]:
            piece = data[one["byte_offset"] : one["byte_offset"] + one["byte_length"]]
            assert hashlib.sha256(piece).hexdigest() == one["record_sha256"]

    def test_an_event_shows_its_price_row(self, run: Run) -> None:
        _, found = self.explained(run, "--kind", "client", "--key", "codex")
        price = found["events"][0]["price"]

        assert price["channel"] == "openai"
        assert set(price["usd_per_mtok"]) == {"input", "cache_read", "cache_write_5m", "cache_write_1h", "output"}

    def test_an_unpriced_event_says_why(self, run: Run) -> None:
        _, found = self.explained(run, "--kind", "model", "--key", "acme-coder-9")

        assert found["events"][0]["price"]["unpriced_reason"] == "unknown_model"

    def test_untouched_bytes_are_verified(self, run: Run) -> None:
        for kind, key in (
            ("daily", "2026-02-18"),
            ("session", "t1"),
            ("monthly", "2026-03"),
            ("block", "2026-02-19T10:00:00Z"),
        ):
            code, found = self.explained(run, "--kind", kind, "--key", key, "--verify")

            assert code == 0
            assert set(found["verification"]) == {"verified"}

    def test_tampered_bytes_are_a_mismatch_and_exit_1(self, world: World, run: Run) -> None:
        path = world.claude_path()
        path.write_bytes(path.read_bytes().replace(b'"input_tokens":200', b'"input_tokens":201'))
        code, found = self.explained(run, "--kind", "daily", "--key", "2026-02-18", "--verify")

        assert code == 1
        assert found["verification"] == {"verified": 1, "mismatch": 1}

    def test_a_source_that_is_gone_is_said_and_exits_0(self, world: World, run: Run) -> None:
        world.claude_path().unlink()
        code, found = self.explained(run, "--kind", "daily", "--key", "2026-02-18", "--verify")

        assert code == 0
        assert found["verification"] == {"source_gone": 2}

    def test_a_moved_source_is_verified_at_its_new_place(self, world: World, run: Run) -> None:
        world.claude_path().rename(world.claude_path("moved.jsonl"))
        run("sync")
        code, found = self.explained(run, "--kind", "daily", "--key", "2026-02-18", "--verify")

        assert code == 0
        assert set(found["verification"]) == {"verified"}
        assert found["events"][0]["evidence"][0]["source_path"].endswith("moved.jsonl")

    def test_a_packed_source_is_verified(self, world: World, run: Run) -> None:
        path = world.claude_path()
        path.with_name("s1.jsonl.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
        run("sync")
        code, found = self.explained(run, "--kind", "daily", "--key", "2026-02-18", "--verify")

        assert code == 0
        assert set(found["verification"]) == {"verified"}

    def test_a_rewritten_source_is_gone_for_what_stood_there_before(self, world: World, run: Run) -> None:
        world.claude_path().write_bytes(
            jsonl(claude("m1", "r1", input=100, output=10, timestamp="2026-02-18T09:00:00Z"))
        )
        run("sync")
        code, found = self.explained(run, "--kind", "daily", "--key", "2026-02-18", "--verify")

        assert code == 0
        assert found["verification"] == {"verified": 1, "source_gone": 1}

    @pytest.mark.parametrize(
        "arguments",
        [[], ["--kind", "daily"], ["--key", "2026-02-18"], ["abc", "--kind", "daily", "--key", "2026-02-18"]],
    )
    def test_an_event_or_a_figure_has_to_be_named(self, run: Run, arguments: list[str]) -> None:
        assert run("explain", *arguments).code == 2

    @pytest.mark.parametrize("arguments", [["0" * 32], ["--kind", "daily", "--key", "2001-01-01"]])
    def test_what_is_not_there_is_3(self, run: Run, arguments: list[str]) -> None:
        assert run("explain", *arguments).code == 3

    def test_the_table_shows_place_and_state(self, run: Run) -> None:
        found = run("explain", "--kind", "daily", "--key", "2026-02-18", "--verify")

        assert "s1.jsonl:0+" in found.out.replace("\n", "")
        assert "2 verified" in found.out
