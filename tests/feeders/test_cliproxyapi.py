"""What `tokenledger feeder validate cliproxyapi` accepts, and by which name it rejects the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.landing.rows import SECRETS, breakdown, detail, export, queued
from tests.support import jsonl
from tokenledger_dagster.cli.main import main
from tokenledger_dagster.contracts.feeder import FeederReport
from tokenledger_dagster.feeders.cliproxyapi import validate
from tokenledger_dagster.landing.cliproxyapi import landed_line
from tokenledger_dagster.landing.redaction import redacted


def report(tmp_path: Path, data: bytes | Any) -> FeederReport:
    path = tmp_path / "file"
    path.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
    return validate(path)


def rejected(found: FeederReport) -> dict[str, list[str]]:
    return {one.reason: one.positions for one in found.rejected}


class TestSound:
    def test_an_export(self, tmp_path: Path) -> None:
        found = report(tmp_path, export({"gpt-5": [detail(1), detail(1), detail(2)]}))

        assert (found.records, found.accepted, found.is_valid) == (3, 3, True)
        assert found.noted == {"without_request_id": 3, "repeated": 1}

    def test_an_answer_of_the_queue(self, tmp_path: Path) -> None:
        found = report(tmp_path, [queued("r1"), queued("r2"), {"refresh": True}])

        assert (found.accepted, found.noted) == (2, {"with_request_id": 2, "control_message": 1})

    def test_queue_records_by_line(self, tmp_path: Path) -> None:
        assert report(tmp_path, jsonl(queued("r1"), queued("r2"))).accepted == 2

    def test_landed_lines(self, tmp_path: Path) -> None:
        data = landed_line("usage", redacted(queued())) + landed_line("unknown", {"left": 3})
        found = report(tmp_path, data)

        assert (found.accepted, found.is_valid, found.noted) == (1, True, {"with_request_id": 1, "landed_unknown": 1})

    def test_an_empty_queue(self, tmp_path: Path) -> None:
        assert rejected(report(tmp_path, [])) == {"no_records": [""]}

    def test_what_the_adapter_will_flag_is_noted(self, tmp_path: Path) -> None:
        found = report(tmp_path, [queued(token_breakdown=breakdown(total_tokens=1))])

        assert (found.is_valid, found.noted["breakdown_invalid"]) == (True, 1)


class TestRejected:
    @pytest.mark.parametrize(
        ("fields", "reason"),
        [
            ({"tokens": 3, "token_breakdown": None}, "usage_missing"),
            ({"timestamp": "yesterday"}, "timestamp_unreadable"),
            ({"model": None}, "model_missing"),
            ({"failed": "no"}, "failed_missing"),
            ({"tokens": {"input_tokens": -1}}, "counter_invalid"),
            ({"tokens": {"input_tokens": True}}, "counter_invalid"),
        ],
    )
    def test_a_record_that_lacks_what_booking_needs(self, tmp_path: Path, fields: dict[str, Any], reason: str) -> None:
        found = report(tmp_path, [queued("r1"), queued("r2", **fields)])

        assert (found.records, found.accepted, rejected(found)) == (2, 1, {reason: ["/1"]})

    def test_lines_that_are_no_records(self, tmp_path: Path) -> None:
        found = report(tmp_path, jsonl(queued("r1"), "not json", {"left": 3}, "[1]", '{"tokens": {'))

        assert rejected(found) == {
            "unknown_record": ["line 3"],
            "invalid_json": [""],
            "not_an_object": [""],
            "truncated_json": [""],
        }

    def test_a_landed_line_with_a_bare_key(self, tmp_path: Path) -> None:
        found = report(tmp_path, landed_line("usage", queued()))

        assert rejected(found) == {"secret_in_landed_line": ["the document"]}

    def test_a_landed_line_of_another_version(self, tmp_path: Path) -> None:
        line = landed_line("usage", redacted(queued())).replace(b'"schema_version":1', b'"schema_version":9', 1)

        assert rejected(report(tmp_path, line)) == {"unknown_landed_line": ["the document"]}

    def test_at_most_five_positions_are_told(self, tmp_path: Path) -> None:
        found = report(tmp_path, [queued(f"r{number}", model=None) for number in range(9)])

        assert (found.rejected[0].count, len(found.rejected[0].positions)) == (9, 5)


class TestCommand:
    def test_a_sound_file_exits_0(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = tmp_path / "queue.json"
        path.write_text(json.dumps([queued()]))

        assert main(["feeder", "validate", "cliproxyapi", str(path)]) == 0
        assert capsys.readouterr().out == f"{path}: 1 of 1 records keep to the contract\n  with request id: 1\n"

    def test_a_file_that_breaks_the_contract_exits_1(self, tmp_path: Path, capsysbinary: Any) -> None:
        path = tmp_path / "queue.json"
        path.write_text(json.dumps([queued(model=None), queued()]))

        assert main(["feeder", "validate", "cliproxyapi", str(path), "--format", "json"]) == 1
        (told,) = json.loads(capsysbinary.readouterr().out)["reports"]
        assert (told["feeder"], told["records"], told["accepted"]) == ("cliproxyapi", 2, 1)
        assert told["rejected"] == [{"reason": "model_missing", "count": 1, "positions": ["/0"]}]

    def test_it_tells_no_secret(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = tmp_path / "queue.json"
        path.write_text(json.dumps([queued(model=None), export({"gpt-5": [detail(failed=1)]})]))
        main(["feeder", "validate", "cliproxyapi", str(path)])
        told = capsys.readouterr()

        assert [secret for secret in SECRETS if secret in told.out + told.err] == []

    def test_a_file_that_is_not_there_exits_4(self, tmp_path: Path) -> None:
        assert main(["feeder", "validate", "cliproxyapi", str(tmp_path / "none.json")]) == 4
