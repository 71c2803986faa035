"""The transcript beside a Droid settings file: where and when the session began, and its model.

Here: the few facts that settings lack.  Not here: usage, of which a transcript holds none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

import msgspec

from tokenledger_dagster.clients import values
from tokenledger_dagster.models.names import resolve_model

HEAD_LINES = 500
_HEAD_BYTES = 8 << 20
_MODEL = re.compile(r"\bModel:[ \t]*([A-Za-z0-9][A-Za-z0-9 ._:/()+-]{1,78}?)[ \t]*\[")


class About(msgspec.Struct):
    """What the transcript tells of its session; None where it does not, or is not there."""

    cwd: str | None = None
    version: str | None = None
    started_us: int | None = None
    model: str | None = None


def beside(settings: str) -> About:
    """The transcript of a settings file, as far as it can be read."""
    about = About()
    path = settings.split(".settings.json")[0] + ".jsonl"
    try:
        with open(path, "rb") as handle:
            for line in _head(handle):
                _learn(about, line)
    except OSError:
        pass
    return about


def _head(handle: BinaryIO) -> Iterator[bytes]:
    left = _HEAD_BYTES
    for _ in range(HEAD_LINES):
        line = handle.readline(left)
        left -= len(line)
        if not line or left <= 0:
            return
        yield line


def _learn(about: About, line: bytes) -> None:
    if about.model is None and b"Model:" in line:
        about.model = _model_in(line.decode("utf-8", "replace"))
    if about.started_us is not None and b'"session_start"' not in line:
        return
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError):
        return
    if not isinstance(row, dict):
        return
    about.started_us = about.started_us or values.time_us(row.get("timestamp"))
    if row.get("type") == "session_start":
        about.cwd = about.cwd or values.text(row.get("cwd"))
        about.version = about.version or values.text(row.get("version"), 64)


def _model_in(text: str) -> str | None:
    """``Model: X [Provider]`` where X is the name of some maker's model: prompts may hold anything else."""
    for found in _MODEL.finditer(text):
        name = found[1]
        if resolve_model(name, "droid", "").maker is not None:
            return name
    return None
