"""What of a record is written down: only what a rule names, and of the rest numbers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.landing.rows import SECRETS, queued
from tokenledger_dagster.clients.cliproxyapi import Owner, identity_of
from tokenledger_dagster.landing.answers import parsed
from tokenledger_dagster.landing.redaction import field_rules, redacted


def test_a_records_fields_after_redaction() -> None:
    found = redacted(queued())

    assert found.keys() == field_rules().keys() - {
        "client_ip", "x_forwarded_for", "response_headers", "access_token_sha256", "stream", "attempt_count",
        "status_code", "error_code",
    }  # fmt: skip
    assert (found["fail"], found["user_agent"]) == ({"status_code": 200}, "codex_cli_rs/0.104.0")
    assert found["tokens"] == queued()["tokens"]
    assert found["token_breakdown"] == queued()["token_breakdown"]
    assert [secret for secret in SECRETS if secret in json.dumps(found)] == []


def test_redacting_again_changes_nothing() -> None:
    once = redacted(queued(auth_index="ada.planted@example.org"))

    assert redacted(once) == once


@pytest.mark.parametrize("fields", [{}, {"auth_index": "ada.planted@example.org"}, {"request_id": None}])
def test_redaction_keeps_the_identity(fields: dict[str, Any]) -> None:
    record = queued(**{"request_id": None, **fields})

    assert identity_of(redacted(record), Owner()) == identity_of(record, Owner())


@pytest.mark.parametrize(
    ("name", "value", "left"),
    [
        ("endpoint", "POST /v1/messages", "POST /v1/messages"), ("endpoint", "POST /v1/x?key=abc", None),
        ("user_agent", "Ada's laptop", None), ("user_agent", "claude-cli/2.1.38 (external, cli)", "claude-cli/2.1.38"),
        ("timestamp", "planted-unknown-text", None), ("timestamp", 1771405200, 1771405200),
        ("model", "a model named by mail: ada.planted@example.org", None), ("fail", "planted error body", None),
        ("auth_index", 0, 0), ("source", 7, None), ("failed", "planted-unknown-text", None), ("new_count", 5, 5),
        ("new_text", "planted-unknown-text", None),
        ("new_parts", [1, "planted-unknown-text", {"x": "y"}], [1, None, {}]),
    ],
)  # fmt: skip
def test_one_field(name: str, value: object, left: object) -> None:
    assert redacted({name: value}).get(name) == left


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
_FIELD = st.sampled_from([*field_rules(), "other", "support_refresh"])


@pytest.mark.parametrize("secret", ["sk-live-0123456789", "gemini/AIzaSyExample", "ghp_0123456789", "eyJhbGciOi.x.y"])
@pytest.mark.parametrize("field", ["alias", "auth_type", "model"])
def test_text_that_looks_like_a_key_is_no_name(field: str, secret: str) -> None:
    assert secret not in json.dumps(redacted({field: secret}))


@given(st.dictionaries(_FIELD | st.text(), _JSON, max_size=6))
def test_whatever_comes_can_be_written_as_ascii(record: dict[str, Any]) -> None:
    assert json.dumps(redacted(record), allow_nan=False).isascii()


@given(st.lists(_JSON, max_size=5), st.integers(min_value=0, max_value=400))
def test_an_answer_cut_anywhere_gives_its_whole_elements_in_order(elements: list[Any], at: int) -> None:
    body = json.dumps(elements).encode()
    found = parsed(body[:at])

    assert json.dumps(found.elements) == json.dumps(elements[: len(found.elements)])
    assert found.whole == (at >= len(body) or not body[:at])
