"""Makes the table of token estimates, where something changed.

Here: what the table stands on, and its rows. Not here: whether it is made at all (`standing`), reading logs
(`collecting`), and the method (`choosing`).
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime

import msgspec

from tokenledger_dagster.fileio import write_json_atomic
from tokenledger_dagster.home import Home
from tokenledger_dagster.inference.clock import utc_stamp
from tokenledger_dagster.inference.estimates.choosing import Choices
from tokenledger_dagster.inference.estimates.collecting import Collected, booked_counts, collect, maker_of, sources
from tokenledger_dagster.inference.estimates.estimator import SHIPPED_PATH
from tokenledger_dagster.inference.estimates.logs.registry import VERSION
from tokenledger_dagster.inference.estimates.table import TOKEN_ESTIMATES, Row, about_path, table_path, write_table
from tokenledger_dagster.inference.policy import policy
from tokenledger_dagster.ingest.manifest import connect

__all__ = ["Estimated", "build"]


class Estimated(msgspec.Struct, frozen=True, kw_only=True):
    """The table as it lies on the disk; kept beside it."""

    schema_version: int = 1
    generated_at: str
    inputs: str
    """Stands for everything the table was made of."""
    digest: str
    """Stands for its rows."""
    row_count: int
    prompt_tokens: int
    answer_tokens: int
    covered: int
    """Prompts and answers without counts whose requests a usage export tells of."""
    files_read: int
    samples: dict[str, int]
    """Counted answers that could be fitted on, by maker; "unknown" where the log names no model."""
    problems: list[str]
    cache_hit: bool = False
    duration_ms: int = 0


def build(home: Home) -> Estimated:
    """Brings the table up to date.

    Raises:
        ManifestError: the home holds no ledger.
        OSError: the disk refused.
    """
    started = time.perf_counter()
    with closing(connect(home, read_only=True)) as connection:
        inputs = _inputs(connection)
        known = _known(home)
        if known is not None and known.inputs == inputs:
            return msgspec.structs.replace(known, cache_hit=True, duration_ms=_since(started))
        limits = policy()
        found = collect(connection, limits.estimates, limits.prompts)
        booked = booked_counts(connection)
    choices = Choices(found.samples, limits.estimates)
    rows = _rows(found, choices, booked)
    write_table(table_path(home), rows)
    named = TOKEN_ESTIMATES.column_names
    made = Estimated(
        generated_at=utc_stamp(),
        inputs=inputs,
        digest=hashlib.blake2b(repr(rows).encode("utf-8", "replace"), digest_size=16).hexdigest(),
        row_count=len(rows),
        prompt_tokens=_sum(rows, named.index("estimated_prompt_tokens")),
        answer_tokens=_sum(rows, named.index("estimated_answer_tokens")),
        covered=found.covered,
        files_read=found.files_read,
        samples={maker or "unknown": len(kept) for maker, kept in sorted(found.samples.items())},
        problems=[*([choices.problem] if choices.problem else []), *found.problems[:20]],
    )
    write_json_atomic(about_path(home), made)
    return msgspec.structs.replace(made, duration_ms=_since(started))


def _rows(found: Collected, choices: Choices, booked: dict[tuple[str, str], int]) -> list[Row]:
    rows: list[Row] = []
    for (client, session), one in sorted(found.sessions.items()):
        if not one.answer_count:  # a prompt that nothing answered was no request that anybody served
            continue
        maker = maker_of(client, one.model_raw, one.last_us)
        chosen = choices.of(maker)
        about = (client, session, _moment(one.first_us), _moment(one.last_us), one.model_raw, maker or None)
        counts = (one.prompt_count, one.answer_count, one.prompts[1], one.answers[1])
        tokens = (chosen.tokens(one.prompts), chosen.tokens(one.answers))
        method = (True, chosen.method, round(chosen.expected_error * 100), chosen.sample_count)
        rows.append((*about, *counts, *tokens, *method, booked.get((client, session), 0), one.path))
    return rows


def _inputs(connection: sqlite3.Connection) -> str:
    """Key of all that a row depends on: logs, what is booked, the policy, the shipped weights, and this code."""
    digest = hashlib.blake2b(f"{VERSION} {TOKEN_ESTIMATES.column_names}".encode(), digest_size=16)
    for one in sources(connection):
        digest.update(repr(one).encode("utf-8", "surrogatepass"))
    digest.update(repr(sorted(booked_counts(connection).items())).encode("utf-8", "surrogatepass"))
    digest.update(repr(policy().estimates).encode() + repr(policy().prompts).encode())
    digest.update(SHIPPED_PATH.read_bytes() if SHIPPED_PATH.is_file() else b"none")
    return digest.hexdigest()


def _known(home: Home) -> Estimated | None:
    """What was made last; None where it is not there any more, or not understood."""
    try:
        found = msgspec.json.decode(about_path(home).read_bytes(), type=Estimated)
    except (OSError, ValueError):
        return None
    return found if table_path(home).is_file() else None


def _moment(time_us: int | None) -> datetime | None:
    return None if time_us is None else datetime.fromtimestamp(time_us / 1e6, UTC).replace(tzinfo=None)


def _sum(rows: list[Row], place: int) -> int:
    return sum(value for row in rows if isinstance(value := row[place], int))


def _since(started: float) -> int:
    return round((time.perf_counter() - started) * 1000)
