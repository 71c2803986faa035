"""Which clients' logs hold what a person typed, and who reads them.

Here: the one list of readers, each imported when it is first needed, and of the clients that hold no words on purpose.
Not here: anything about a single client.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType

from tokenledger_dagster.clients.base import SourceFile
from tokenledger_dagster.inference.prompts.notes import Notes
from tokenledger_dagster.inference.prompts.reading import PromptReader

__all__ = ["READERS", "VERSION", "WITHOUT", "beside", "reader_of", "why_none"]

VERSION = 1
"""Raised when a reader, or what becomes of its findings, changes: every file is then read anew."""
_PACKAGE = "tokenledger_dagster.inference.prompts"
READERS = {
    "claude-code": "claude_code",
    "codex": "codex",
    "cursor": "cursor",
    "droid": "droid",
    "opencode": "opencode",
    "gemini-cli": "gemini_cli",
    "copilot-cli": "copilot_cli",
    "qwen-code": "qwen_code",
    "amp": "amp",
    "kimi": "kimi",
    "pi": "pi",
    "goose": "goose",
    "cline": "tasks",
    "roo": "tasks",
    "kilo": "tasks",
}
"""Module below this package by client, in the order in which reports list clients."""
WITHOUT = {
    "cliproxyapi": "the proxy's records count requests, and what was sent is not landed",
    "opentelemetry": "a collector is set up to drop prompts, and telemetry that holds them is refused",
}
"""Clients that hold no words on purpose."""


def reader_of(file: SourceFile, notes: Notes) -> PromptReader | None:
    """The reader of a file; None where files of its kind hold nothing that a person typed."""
    make: Callable[[SourceFile, Notes], PromptReader | None] = _module(file.client).reader
    return make(file, notes)


def beside(file: SourceFile) -> list[str]:
    """Files and folders whose change is a change of the file's prompts."""
    found: Callable[[SourceFile], list[str]] | None = getattr(_module(file.client), "beside", None)
    return found(file) if found is not None else []


def why_none(client: str) -> str:
    """Why a client has no prompts."""
    return WITHOUT.get(client, "its adapter brings no reader of prompts")


def _module(client: str) -> ModuleType:
    return import_module(f"{_PACKAGE}.{READERS[client]}")
