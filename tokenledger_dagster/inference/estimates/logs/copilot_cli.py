"""GitHub Copilot CLI: messages with the count of their output, and the histories of early builds, without any.

Here: what was said. Not here: usage (`clients.copilot_events`), and the store, which holds no texts.
"""

from __future__ import annotations

from typing import Any

from tokenledger_dagster.clients import row_values, values
from tokenledger_dagster.clients.base import SourceFile
from tokenledger_dagster.clients.rows import object_of
from tokenledger_dagster.inference.estimates.features import NOTHING, added
from tokenledger_dagster.inference.estimates.logs.piece import Emit, Piece, counted, key_of, text_of
from tokenledger_dagster.inference.prompts.reading import Document, LineRows, PromptReader

__all__ = ["reader"]

_HISTORIES = ("history", "chatMessages", "timeline", "messages")
_PERSON = ("human", "user")


class _Events(LineRows):
    words = (b'"user.message"', b'"assistant.message"', b'"session.start"', b'"session.model_change"')

    def __init__(self, file: SourceFile, emit: Emit) -> None:
        self._emit = emit
        name = row_values.name_of(file)
        self._session = file.path.rpartition("/")[0].rpartition("/")[2] if name == "events" else name
        self._is_named = False
        self._model: str | None = None
        self._prompts: list[Piece] = []

    def take(self, row: dict[str, Any], line: bytes) -> None:
        kind, data = row.get("type"), object_of(row.get("data"))
        if kind == "session.start":
            name = values.text(data.get("sessionId"), 256)
            if name and not self._is_named:
                self._session, self._is_named = name, True
            self._model = values.text(data.get("selectedModel")) or self._model
        elif kind == "session.model_change":
            self._model = values.text(data.get("newModel")) or self._model
        elif kind == "user.message":
            self._prompts += self._piece(row, data, None, is_counted=False, is_answer=False)
        elif kind == "assistant.message":
            output = counted(data.get("outputTokens"))
            for prompt in self._prompts:  # counted if its answer is
                self._emit(prompt._replace(is_counted=bool(output)))
            self._prompts.clear()
            for answer in self._piece(row, data, output or None, is_counted=bool(output), is_answer=True):
                self._emit(answer)

    def _piece(
        self, row: dict[str, Any], data: dict[str, Any], output: int | None, *, is_counted: bool, is_answer: bool
    ) -> list[Piece]:
        features = text_of(data.get("content"))
        if is_answer:
            features = added(features, text_of(data.get("toolRequests")))
        if features == NOTHING:
            return []
        key = key_of("copilot-cli", self._session, values.text(data.get("messageId")) or row.get("id"), is_answer)
        model = values.text(data.get("model")) or self._model
        moment = values.time_us(row.get("timestamp"))
        return [Piece(self._session, is_answer, key, features, output, is_counted, model, moment)]

    def close(self) -> None:
        """A prompt that nothing answered."""
        for prompt in self._prompts:
            self._emit(prompt)
        self._prompts.clear()


class _History(Document):
    def __init__(self, file: SourceFile, emit: Emit) -> None:
        self._session, self._emit = row_values.name_of(file), emit

    def take(self, document: Any) -> None:
        told = object_of(document)
        session = values.text(told.get("sessionId"), 256) or self._session
        listed = next((found for name in _HISTORIES if isinstance(found := told.get(name), list)), [])
        for number, message in enumerate(map(object_of, listed)):
            features = text_of(message.get("content", message.get("text")))
            role = message.get("role", message.get("type"))
            if features == NOTHING or not isinstance(role, str):
                continue
            time = values.time_us(message.get("time", message.get("timestamp")))
            key = key_of("copilot-cli", session, number, features)
            is_prompt = role in _PERSON
            model = values.text(message.get("model"))
            self._emit(Piece(session, not is_prompt, key, features, None, False, model, time))


def reader(file: SourceFile, emit: Emit) -> PromptReader | None:
    """An event log or an early history; the store holds no texts."""
    if file.shape == "database":
        return None
    return _Events(file, emit) if file.shape == "lines" else _History(file, emit)
