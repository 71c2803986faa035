"""What a person says a model name stands for: `overrides.yaml` of a home.

An override wins over every rule and the catalogue: it is for gateways that answer under another model's name, for
models that only one house knows, and for a rule that is wrong. Each says why, and a request it named carries the rule
`override`. Here: the file and its lookup. Not here: which of two states of the file a ledger uses
(`ingest/overridden.py`), and names nobody overrides (`names.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Annotated

import msgspec

from tokenledger_dagster.clients.registry import client_name, clients
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.models.names import ModelName, maker_of, resolve
from tokenledger_dagster.plainyaml import Given, YamlFile, shown

RULE = "override"
MIN_MEANT = 60
"""From here on another spelling means the model that the rules make of it."""
CONFIDENCE = 95
"""Below an exact id and above every curated alias: a person looked at this very name."""

_Id = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]*\Z", max_length=100)]
_Text = Annotated[str, msgspec.Meta(pattern=r"^(?=.*\S)[^\x00-\x1f\x7f-\x9f]+\Z", max_length=300)]


class OverridesError(TokenLedgerError):
    """A file of overrides says something that cannot be used."""


class Override(Given, frozen=True, kw_only=True):
    """One name and what it stands for."""

    name: _Text
    """As the log writes it; compared without case and outer blanks."""
    model: _Id
    """The canonical id, of the catalogue or the user's own."""
    reason: _Text
    """Why, for whoever reads the ledger later."""
    client: _Id | None = None
    """Only in logs of this client (`claude-code`); None = in all."""
    maker: _Id | None = None
    """Who made the model; None = as the catalogue says."""
    modifiers: dict[_Id, _Text] = msgspec.field(default_factory=dict)
    """What else the name says: `channel`, `effort`, `speed`, `context`, `region`, ..."""
    start: date | None = msgspec.field(default=None, name="from")
    """First UTC day; None = from the beginning."""
    end: date | None = msgspec.field(default=None, name="to")
    """First UTC day on which it holds no longer; None = open."""

    def __post_init__(self) -> None:
        """Raise ValueError where the days hold nothing."""
        if self.start and self.end and self.end <= self.start:
            raise ValueError(f"to: {self.end} is not after from: {self.start}; correct one of them")


class Overrides:
    """The overrides of a home, found by name."""

    def __init__(self, entries: Sequence[Override] = ()) -> None:
        """Take entries that are apart (`load_overrides` sees to it)."""
        self.entries = tuple(sorted(entries, key=lambda one: (*_key(one)[:1], one.client or "", f"{one.start or ''}")))
        self._found: dict[tuple[str, str | None], list[tuple[str, str, ModelName]]] = {}
        for one in self.entries:
            days = (f"{one.start or ''}", f"{one.end or '~'}")
            self._found.setdefault(_key(one), []).append((*days, _named(one)))

    def __bool__(self) -> bool:
        return bool(self.entries)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Overrides) and self.entries == other.entries

    __hash__ = None  # type: ignore[assignment]

    @cached_property
    def digest(self) -> str:
        """Stands for all that they change; empty for none. A reason changes nothing."""
        if not self.entries:
            return ""
        said = [msgspec.structs.replace(one, reason="-") for one in self.entries]
        return blake2b(msgspec.json.encode(said, order="deterministic"), digest_size=8).hexdigest()

    def named(self, model_raw: str | None, client: str, day: str | None) -> ModelName | None:
        """Return what a name of a log stands for; None where nobody said.

        Args:
            model_raw: the string as logged.
            client: the program that wrote the log; its own override goes before one for all.
            day: UTC day, `YYYY-MM-DD`; None or empty where it is not known: then only overrides without days hold.
        """
        if not self._found or model_raw is None:
            return None
        spelling = _spelling(model_raw)
        for whose in (client, None):
            for start, end, name in self._found.get((spelling, whose), ()):
                if (start <= day < end) if day else (start, end) == ("", "~"):
                    return name
        return None

    def encode(self) -> str:
        """Return them as JSON text, for `decode`."""
        return msgspec.json.encode(self.entries).decode()


def decode(text: str | None) -> Overrides:
    """Return what `Overrides.encode` wrote; none for None or for text of another version."""
    if not text:
        return Overrides()
    try:
        return Overrides(msgspec.json.decode(text, type=list[Override]))
    except msgspec.DecodeError:
        return Overrides()


def load_overrides(path: Path) -> Overrides:
    """Return what a file says; no file = nothing.

    Raises:
        OverridesError: it cannot be used, or two entries name the same on the same day.
    """
    try:
        document = _FILE.document(path, "overrides")
    except FileNotFoundError:
        return Overrides()
    found: list[Override] = []
    for index, entry in enumerate(_FILE.entries(document, "overrides", list, path)):
        name = entry.get("name") if isinstance(entry, dict) else None
        place = f"overrides: {shown(name)}" if name and isinstance(name, str) else f"overrides[{index}]"
        one: Override = _FILE.convert(Override, entry, path, place)
        if problem := _misspelt(one):
            raise OverridesError(f"{path}: {place}: {problem}")
        if any(_overlap(one, other) for other in found):
            raise OverridesError(f"{path}: {place}: is named twice on the same day; remove one or give them days")
        found.append(one)
    return Overrides(found)


def _misspelt(one: Override) -> str:
    """What is wrong with names that mean something elsewhere; empty for none."""
    found = resolve(one.model, "", None).name
    if found.model != one.model and found.confidence >= MIN_MEANT:
        said = "".join(f", {key}: {value}" for key, value in found.modifiers.items())
        as_well = f" with modifiers: {{{said[2:]}}}" if said else ""
        return f"model: {shown(one.model)} is another spelling; write {found.model}{as_well}"
    if one.client is not None and client_name(one.client.replace("_", "-")) is None:
        return f"client: {shown(one.client)} is no client; use one of {', '.join(clients())}"
    return ""


_FILE = YamlFile(OverridesError, "overrides", key=_Id)


def _overlap(one: Override, other: Override) -> bool:
    if _key(one) != _key(other):
        return False
    return _begins_before_end(one, other) and _begins_before_end(other, one)


def _begins_before_end(one: Override, other: Override) -> bool:
    return other.end is None or (one.start or date.min) < other.end


def _key(one: Override) -> tuple[str, str | None]:
    return _spelling(one.name), one.client and one.client.casefold().replace("_", "-")


def _spelling(name: str) -> str:
    return name.strip().casefold()


def _named(one: Override) -> ModelName:
    modifiers = dict(sorted(one.modifiers.items()))
    maker = one.maker or maker_of(one.model)
    return ModelName(model=one.model, maker=maker, modifiers=modifiers, rule=RULE, confidence=CONFIDENCE)
