"""``tokenledger feeder validate otel``: what keeps to the contract, what breaks it, and where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.clients.test_opentelemetry import event, span, usage, wrapped
from tests.support import Row, jsonl
from tokenledger_dagster.feeders.opentelemetry import _secrets
from tokenledger_dagster.feeders.registry import validator

DOCS = Path(__file__).parents[2] / "docs"


def judged(folder: Path, *rows: Row | str) -> Any:
    path = folder / "file.jsonl"
    path.write_bytes(jsonl(*rows))
    return validator("otel")(path)


def reasons(report: Any) -> dict[str, list[str]]:
    return {one.reason: one.positions for one in report.rejected}


def test_a_file_that_keeps_to_the_contract(tmp_path: Path) -> None:
    report = judged(
        tmp_path,
        wrapped(span(1, **usage(5, 1)), span(2, **{**usage(5, 1), "gen_ai.operation.name": "execute_tool"})),
        event("api_request", session__id="s", model="claude-opus-4-6", request_id="r", input_tokens=1, output_tokens=1),
        {"type": "metric", "name": "claude_code.token.usage"},
    )

    assert report.is_valid
    assert (report.records, report.accepted) == (2, 2)
    assert report.noted == {"other_span": 1, "metric": 1}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (span(**usage("many", 1)), "counter_invalid"),
        (span(**usage(1, 1), **{"gen_ai.request.model": None}), "model_missing"),
        ({**span(**usage(1, 1)), "endTime": None}, "timestamp_unreadable"),
        (event("api_request", model="claude-opus-4-6", output_tokens=1), "session_missing"),
        (span(**usage(1, 1), **{"user.email": "a@example.org"}), "secret_attribute"),
        (event("claude_code.user_prompt", prompt="hello"), "secret_attribute"),
        ({"what": "is this"}, "unknown_record"),
        ("5", "not_an_object"),
        ('{"cut', "truncated_json"),
        ("", "no_records"),
    ],
)
def test_what_breaks_it(tmp_path: Path, row: Row | str, reason: str) -> None:
    report = judged(tmp_path, row) if row else validator("otel")(_empty(tmp_path))

    assert not report.is_valid
    assert list(reasons(report)) == [reason]


def _empty(folder: Path) -> Path:
    path = folder / "empty.jsonl"
    path.write_bytes(b"")
    return path


def test_positions_name_line_and_element_and_no_content(tmp_path: Path) -> None:
    bad = span(2, **usage(-1, 1))
    report = judged(tmp_path, span(1, **usage(1, 1)), wrapped(span(1, **usage(1, 1)), bad))

    assert reasons(report) == {"counter_invalid": ["line 2 /resourceSpans/0/scopeSpans/0/spans/1"]}


def test_a_document_is_judged_too(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_text(json.dumps(wrapped(span(1, **usage(1, 1)), span(2, **usage(-1, 1))), indent=1))

    report = validator("otel")(path)
    assert (report.accepted, reasons(report)) == (1, {"counter_invalid": ["/resourceSpans/0/scopeSpans/0/spans/1"]})


def test_the_documented_collector_removes_every_secret_the_contract_names() -> None:
    page = (DOCS / "integrations" / "otel-collector.md").read_text("utf-8")
    config = yaml.safe_load(page.split("```yaml\n", 1)[1].split("```", 1)[0])
    contract = (DOCS / "contracts" / "feeder-otel.md").read_text("utf-8")

    removed = config["processors"]["attributes/redact"]["actions"]
    resource = config["processors"]["resource/redact"]["attributes"]
    for found in (removed, resource):
        assert {one["key"] for one in found if one["action"] == "delete"} >= _secrets()
    for signal in ("logs", "traces", "metrics"):
        steps = config["service"]["pipelines"][signal]["processors"]
        assert steps.index("attributes/redact") < steps.index("batch")
        assert "resource/redact" in steps
        assert config["service"]["pipelines"][signal]["exporters"] == [f"file/{signal}"]
        assert config["exporters"][f"file/{signal}"]["path"].endswith(f"/agent-telemetry/{signal}.json")
        assert "compression" not in config["exporters"][f"file/{signal}"]
    assert [name for name in _secrets() if f"`{name}`" not in contract] == []
