"""Applying a patch to a pricing book: adding what is missing, and nothing else unless that was asked for.

Here: merging two documents as JSON text says them (a number stays as it was written, keys keep their order, what this
program does not know is kept), and writing the result. Existing rates win over the patch's; an entry without any rate
may be filled; a null never replaces anything. Not here: where a patch comes from (`patch.py`), what a change of the
book does to booked prices (`reprice.py`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from tokenledger_dagster.contracts.pricing_book import BOOK_SCHEMA_VERSION, UNIT_FIELDS
from tokenledger_dagster.contracts.reconcile import ApplySummary, PricingApply
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.fileio import write_atomic
from tokenledger_dagster.home import Home
from tokenledger_dagster.ingest.manifest import writer_lock
from tokenledger_dagster.plainjson import Number, encode_plain
from tokenledger_dagster.pricing.book import MOST_BYTES, BookError, parse_book, read_bytes
from tokenledger_dagster.pricing.book_rows import canonical, look_up_key
from tokenledger_dagster.pricing.coverage import rfc3339

MOST_PATCH_BYTES = 2 << 20
"""A patch names what one ledger uses."""
_STAMP = "%Y%m%d-%H%M%S"
_WAIT_SECONDS = 60.0
_ROW_PLACE = ("context", "valid_from", "tod_from")
"""What makes two rows of a model's `rates` the same one, where they have no id."""


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """A book with a patch applied, in memory."""

    before: bytes | None
    content: bytes | None
    """None: there is no book, and nothing to put into one."""
    summary: ApplySummary
    now: datetime
    updates_meta: bool = False
    """Whether the book is younger for it: more changed than entries without any rate."""

    @property
    def changed(self) -> bool:
        """Whether the patch says something that the book does not."""
        return self.content != self.before

    def told(self, *, wrote: bool) -> PricingApply:
        """Return what summaries say of it."""
        return PricingApply(
            changed=self.changed, wrote_pricing=wrote, metadata_updated=self.updates_meta, summary=self.summary
        )


def apply_patch(
    book: bytes | None,
    patch: bytes,
    *,
    allow_overwrite: bool = False,
    now: datetime | None = None,
    place: str = "pricing.json",
    patch_place: str = "patch",
) -> Applied:
    """Return the book with a patch applied; writes nothing.

    Args:
        book: the book's bytes, None where there is none.
        patch: another book, of what is to be added.
        allow_overwrite: let rates of the patch replace existing ones.
        now: the time that `meta.updated_at` is set to where rates or names change; None is the clock's. An entry that
            only says what is not known makes no book younger.
        place: what messages call the book.
        patch_place: what messages call the patch.

    Raises:
        BookError: one of them is no pricing book, or both together are none.
    """
    stamp = now or datetime.now(UTC)
    document = _new_document() if book is None else _document(book, place)
    added = _document(patch, patch_place, MOST_PATCH_BYTES)
    together = f"{patch_place} applied to {place}"
    merge = _Merge(document, patch_place, allow_overwrite=allow_overwrite)
    try:
        merge.take(added)
        if not merge.changed:
            return Applied(before=book, content=book, summary=merge.summary(), now=stamp)
        meta = _child(document, "meta")
        if book is None:
            meta |= {"source": source} if (source := added.get("meta", {}).get("source")) else {}
        if merge.brings_rates:
            meta["updated_at"] = rfc3339(stamp)
        content = encode_plain(document)
    except (RecursionError, UnicodeEncodeError) as error:
        raise BookError(f"{together}: cannot be written as JSON ({type(error).__name__}); mend the patch") from error
    if len(content) > MOST_BYTES:
        raise BookError(f"{together}: more than {MOST_BYTES >> 20} MB; a pricing book is a few kilobytes of JSON")
    parse_book(content, together)
    updates = merge.brings_rates
    return Applied(before=book, content=content, summary=merge.summary(), now=stamp, updates_meta=updates)


def read_patch(path: Path) -> bytes:
    """Return a patch's bytes.  Raises BookError for what is no readable file."""
    try:
        with path.open("rb") as handle:
            return handle.read(MOST_PATCH_BYTES + 1)
    except OSError as error:
        raise BookError(f"{path}: {error.strerror or error}; name the patch to apply") from error


def write_book(home: Home, applied: Applied, write_backup: bool) -> Path | None:
    """Make an applied patch the home's pricing book, and return where the one before was kept.

    Raises:
        BookError: the book is not any more what the patch was applied to.
        TokenLedgerError: another process writes this ledger all the time.
    """
    if not applied.changed or applied.content is None:
        return None
    path = home.pricing_book_path
    with writer_lock(home, _WAIT_SECONDS) as held:
        if not held:
            raise TokenLedgerError(f"{home.lock_path}: another process writes this ledger; try again when it is done")
        if read_bytes(path) != applied.before:
            raise BookError(f"{path}: was changed meanwhile; apply the patch again")
        backup = None
        if write_backup and applied.before is not None:
            backup = _free(path.with_name(f"{path.name}.{applied.now.astimezone(UTC).strftime(_STAMP)}"), ".bak")
            write_atomic(backup, applied.before)
        # a book that is kept elsewhere and linked to stays there
        write_atomic(os.path.realpath(path), applied.content)
    return backup


def _free(path: Path, ending: str) -> Path:
    """The path with its ending, numbered where that is taken."""
    found, number = path.with_name(path.name + ending), 1
    while found.exists():
        number += 1
        found = path.with_name(f"{path.name}-{number}{ending}")
    return found


# -------------------------------------------------------------------- reading


def _document(content: bytes, place: str, most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """A book as its text says it: numbers as they were written.  Raises BookError."""
    if len(content) > most_bytes:
        raise BookError(f"{place}: larger than {most_bytes >> 20} MB; a pricing book is a few kilobytes of JSON")
    parse_book(content, place)

    def no_number(text: str) -> NoReturn:
        raise ValueError(f"{text} is no number")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a key stands twice in one object")
        return found

    try:
        document: dict[str, Any] = json.loads(
            content.decode("utf-8-sig"),
            parse_int=Number,
            parse_float=Number,
            parse_constant=no_number,
            object_pairs_hook=unique,
        )
    except (ValueError, RecursionError) as error:
        raise BookError(f"{place}: cannot be changed without loss ({error}); mend it by hand") from error
    return document


def _new_document() -> dict[str, Any]:
    return {"schema_version": BOOK_SCHEMA_VERSION, "meta": {}, "provider_aliases": {}, "providers": {}}


def _child(parent: dict[str, Any], name: str) -> dict[str, Any]:
    """An object within an object, made where there is none."""
    found = parent.get(name)
    if not isinstance(found, dict):
        found = parent[name] = {}
    return found


# -------------------------------------------------------------------- merging


class _Merge:
    """One patch going into one document."""

    def __init__(self, document: dict[str, Any], patch_place: str, *, allow_overwrite: bool) -> None:
        self._document = document
        self._place = patch_place
        self._overwrite = allow_overwrite
        self._names: dict[str, list[str]] = {name: [] for name in ApplySummary.__struct_fields__}
        self.changed = False

    def summary(self) -> ApplySummary:
        """What was added and what was not, by name."""
        return ApplySummary(**self._names)

    def take(self, patch: Mapping[str, Any]) -> None:
        """Merges everything that a patch may bring.  Raises BookError where it says one thing twice."""
        known = _child(self._document, "providers")
        aliases = _child(self._document, "provider_aliases")
        for name, target in patch.get("provider_aliases", {}).items():
            self._alias(aliases, name, target, is_taken=name in aliases or name in known, label=name)
        providers = patch.get("providers", {})
        keys = {name: name if name in known else aliases.get(name, name) for name in providers}
        self._refuse_twice("providers", keys)
        for name, key in keys.items():
            entry = providers[name]
            self._refuse_twice(f"providers.{name}.models", {one: _spelling(one) for one in entry.get("models", {})})
            if key not in known and any(value not in (None, {}, []) for value in entry.values()):
                known[key] = {}
                self._note("providers_added", key)
            if key in known:
                self._provider(key, known[key], entry)

    def _provider(self, key: str, own: dict[str, Any], entry: Mapping[str, Any]) -> None:
        for part, value in entry.items():
            if part not in ("models", "model_aliases") and value is not None and own.get(part) is None:
                own[part] = value
                self._note("fields_added", f"{key}.{part}")
        models, aliases = _child(own, "models"), _child(own, "model_aliases")
        spelled = {_spelling(name): name for name in reversed(models)}
        if len(spelled) < len(models):
            other = next(name for name in models if spelled[_spelling(name)] != name)
            raise BookError(
                f"the book's providers.{key}.models: {spelled[_spelling(other)]} and {other} are one model; "
                "make them one entry first"
            )
        led = {_spelling(name) for name in aliases}
        for name, target in entry.get("model_aliases", {}).items():
            spelling = _spelling(name)
            model = spelled.get(spelling)
            is_taken = spelling in led or (model is not None and _has_rate(models[model]))
            if self._alias(aliases, name, target, is_taken=is_taken, label=f"{key}:{name}"):
                led.add(spelling)
                if model is not None:
                    del models[model], spelled[spelling]  # an entry without rates would hide the alias
        for name, rates in entry.get("models", {}).items():
            spelling = _spelling(name)
            existing = name if name in models else spelled.get(spelling)
            self._model(models, existing, name, rates, f"{key}:{name}", is_alias=spelling in led)

    def _alias(self, aliases: dict[str, Any], name: str, target: str, *, is_taken: bool, label: str) -> bool:
        if aliases.get(name) == target:
            return False
        if is_taken:
            self._names["aliases_skipped_existing"].append(label)
            return False
        aliases[name] = target
        self._note("aliases_added", label)
        return True

    def _model(
        self, models: dict[str, Any], existing: str | None, name: str, rates: Any, label: str, *, is_alias: bool
    ) -> None:
        """Adds a model, fills or overwrites the one that stands under any spelling, or leaves it as it is."""
        if existing is None:
            if is_alias:  # which would lead nowhere any more
                self._names["models_skipped_existing"].append(label)
                return
            models[name] = rates
            self._note("models_added", label)
            if not _has_rate(rates):
                self._names["models_without_rates"].append(label)
            return
        own = models[existing]
        is_empty = not _has_rate(own)
        mixed = _mixed(own, rates, overwrite=self._overwrite)
        if mixed == own or not (self._overwrite or (is_empty and _has_rate(rates))):
            self._names["models_skipped_existing"].append(label)
            return
        models[existing] = mixed
        self._note("models_filled" if is_empty else "models_overwritten", label)

    def _refuse_twice(self, where: str, keys: Mapping[str, str]) -> None:
        names: dict[str, str] = {}
        for name, key in keys.items():
            if (other := names.setdefault(key, name)) != name:
                raise BookError(f"{self._place}: {where}: {other} and {name} are the same one; name it once")

    def _note(self, kind: str, name: str) -> None:
        self._names[kind].append(name)
        self.changed = True

    @property
    def brings_rates(self) -> bool:
        """Whether more changed than entries without any rate."""
        names = self._names
        added = len(names["models_added"]) > len(names["models_without_rates"])
        return bool(
            added
            or names["fields_added"]
            or names["models_filled"]
            or names["models_overwritten"]
            or names["aliases_added"]
        )


def _mixed(own: Any, added: Any, *, overwrite: bool) -> Any:
    """One entry laid over another: nulls lay over nothing, and values only over nulls unless they may overwrite."""
    if isinstance(own, dict) and isinstance(added, dict):
        return {**own, **{name: _mixed(own.get(name), value, overwrite=overwrite) for name, value in added.items()}}
    if isinstance(own, list) and isinstance(added, list):
        rows = list(own)
        places = {_row_key(row): place for place, row in reversed(list(enumerate(own)))}
        for row in added:
            place = places.get(_row_key(row))
            if place is None:
                rows.append(row)
            else:
                rows[place] = _mixed(rows[place], row, overwrite=overwrite)
        return rows
    if own is None:
        return added
    return added if overwrite and added is not None else own


def _row_key(row: Mapping[str, Any]) -> Any:
    return row.get("id") or tuple(row.get(name) for name in _ROW_PLACE)


def _has_rate(entry: Any) -> bool:
    """Whether a model's entry has any number, a zero too, where rates stand."""
    if isinstance(entry, dict):
        return any(value is not None if name in UNIT_FIELDS else _has_rate(value) for name, value in entry.items())
    return isinstance(entry, list) and any(map(_has_rate, entry))


def _spelling(name: str) -> str:
    """What two spellings of one name have in common, as the book compares them."""
    return look_up_key(canonical(name))
