"""JSON documents as the bytes of their parts, each with its JSON pointer.

Here: cleaning a document that is read whole, stepping down to elements whose own bytes are the evidence, and text whose
lines are.  Not here: what any element or line means.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import msgspec

from tokenledger_dagster.clients.base import Sink
from tokenledger_dagster.clients.evidence import Evidence
from tokenledger_dagster.clients.veil import digest

_decoder = json.JSONDecoder()
LINE = "line/"
"""Begins the locator of a whole line, by number from 0, in a file of lines that is written anew as a whole."""
_TEXT_LINE = "line:"
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_elements = msgspec.json.Decoder(list[msgspec.Raw])


class Part:
    """A value inside a document: its bytes, and where it stands."""

    __slots__ = ("pointer", "raw")

    def __init__(self, raw: bytes, pointer: str = "") -> None:
        self.raw = raw
        self.pointer = pointer

    @property
    def evidence(self) -> Evidence:
        """The value as evidence."""
        return Evidence.of(self.raw, 0, self.pointer)

    @property
    def value(self) -> Any:
        """The value decoded; None where it cannot be (a number JSON does not know, too deep)."""
        try:
            return msgspec.json.decode(self.raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            try:
                return json.loads(self.raw)
            except (ValueError, RecursionError):
                return None

    def get(self, *path: str) -> Part | None:
        """The member at the end of ``path``, or None."""
        part = self
        for name in path:
            members = part.members()
            if name not in members:
                return None
            part = members[name]
        return part

    def members(self) -> dict[str, Part]:
        """An object's members; empty where it is none."""
        try:
            found = _members.decode(self.raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return {name: Part(_encoded(one), self._below(name)) for name, one in _as(dict, self.value).items()}
        return {name: Part(bytes(one), self._below(name)) for name, one in found.items()}

    def elements(self) -> Iterator[Part]:
        """An array's elements in order; none where it is no array."""
        try:
            found = [bytes(one) for one in _elements.decode(self.raw)]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            found = [_encoded(one) for one in _as(list, self.value)]
        for place, one in enumerate(found):
            yield Part(one, f"{self.pointer}/{place}")

    def _below(self, name: str) -> str:
        return f"{self.pointer}/{name.replace('~', '~0').replace('/', '~1')}"


def load(data: bytes, sink: Sink, *, several: bool = False) -> tuple[Part, list[str]] | None:
    """The document and what had to be mended in it; None where it is no JSON, which the sink is told.

    Where ``several`` are allowed one behind another, they are read as an array of them.
    """
    flags: list[str] = []
    body = data.removeprefix(b"\xef\xbb\xbf").strip(b"\x00 \t\r\n")
    if not body:
        sink.skipped["nul_padding" if b"\x00" in data else "blank"] += 1
        return None
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        text = body.decode("utf-8", "replace")
        body = text.encode("utf-8")
        flags.append("invalid_utf8")
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            json.loads(text)
        except (ValueError, RecursionError) as error:
            parts = _several(text, sink) if several else []
            if not parts:
                if not several:
                    sink.quarantine(body, 0, _reason(error, text))
                return None
            body = b"[" + b",".join(parts) + b"]"
            flags.append("several_documents")
    return Part(body), flags


def _several(text: str, sink: Sink) -> list[bytes]:
    """The documents that a program wrote one behind another; what follows the last readable one is quarantined."""
    found: list[bytes] = []
    position = 0
    while position < len(text):
        try:
            _, end = _decoder.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            rest = text[position:].encode("utf-8", "replace")
            sink.quarantine(rest, len(text[:position].encode("utf-8", "replace")), _reason(error, text))
            break
        found.append(text[position:end].encode("utf-8", "replace"))
        position = end
        while position < len(text) and text[position] in " \t\r\n,\x00":
            position += 1
    return found


def _reason(error: Exception, text: str) -> str:
    cut_short = getattr(error, "pos", 0) >= len(text) - 1 or "Unterminated" in str(error)
    return "truncated_json" if cut_short else "invalid_json"


class Finder:
    """Finds the bytes at locators of one document, which is decoded once, however many are asked for.

    A locator is a JSON pointer, a whole line's number (``LINE``), or a text line's hash and place (``line_evidence``).
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._lines: dict[str, list[bytes]] = defaultdict(list)
        self._document: Part | None = None
        self._below: dict[str, dict[str, Part]] = {}

    def find(self, locator: str) -> bytes | None:
        """The bytes that stand there, or None where nothing does."""
        if locator.startswith(_TEXT_LINE):
            return self._text_line(locator)
        if locator.startswith(LINE):
            lines, number = self._data.split(b"\n"), int(locator.removeprefix(LINE))
            return lines[number].removesuffix(b"\r") if number < len(lines) else None
        part = self._whole()
        for step in locator.split("/")[1:] if part is not None else ():
            part = None if part is None else self._step(part, step)
        return None if part is None else part.raw

    def _whole(self) -> Part | None:
        if self._document is None:
            loaded = load(self._data, Sink(0), several=True)
            self._document = loaded[0] if loaded is not None else None
        return self._document

    def _step(self, part: Part, step: str) -> Part | None:
        below = self._below.get(part.pointer)
        if below is None:
            below = part.members() or {str(place): one for place, one in enumerate(part.elements())}
            self._below[part.pointer] = below
        if step.startswith(_VEILED):
            return next((one for name, one in below.items() if veiled_step(name) == step), None)
        return below.get(step.replace("~1", "/").replace("~0", "~"))

    def _text_line(self, locator: str) -> bytes | None:
        if not self._lines:
            for line in text_lines(self._data):
                self._lines[hashlib.sha256(line).hexdigest()].append(line)
        sha256, _, place = locator.removeprefix(_TEXT_LINE).partition(":")
        equal = self._lines.get(sha256, [])
        return equal[int(place)] if int(place) < len(equal) else None


def text_lines(data: bytes) -> list[bytes]:
    """Lines of a text without their ends, without a byte order mark and without NUL padding."""
    return [line.rstrip(b"\r").strip(b"\x00") for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n")]


def line_evidence(line: bytes, place: int) -> Evidence:
    """A text line as evidence that survives other lines coming and going: its hash, and how many equal ones precede."""
    plain = Evidence.of(line)
    return msgspec.structs.replace(plain, locator=f"{_TEXT_LINE}{plain.sha256}:{place}")


_VEILED = "~h"


def veiled_step(name: str) -> str:
    """A step of a pointer past a name that must not be stored; ``~h`` is no escape that JSON pointers know."""
    return f"{_VEILED}{digest(name)}"


def _encoded(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("utf-8", "replace")


def _as(kind: type, value: Any) -> Any:
    return value if isinstance(value, kind) else kind()
