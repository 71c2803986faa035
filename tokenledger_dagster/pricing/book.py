"""The user's pricing book at run time: its rates as rows of a rate table, its names, its subscriptions' fees.

Here: reading `pricing.json`, and the names under which it prices. Not here: its shape (`contracts.pricing_book`), its
rows (`book_rows.py`), what is merely suspicious (`lint.py`), changing it (`apply.py`).
"""

from __future__ import annotations

import stat
from decimal import Decimal
from pathlib import Path

import msgspec

from tokenledger_dagster.contracts.pricing_book import BOOK_SCHEMA_VERSION, PricingBook
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.models.names import ModelName
from tokenledger_dagster.pricing.book_problems import problems
from tokenledger_dagster.pricing.book_rows import (
    MIN_CANONICAL,
    as_of,
    book_rows,
    canonical,
    cells,
    look_up_key,
    superseded,
)
from tokenledger_dagster.pricing.context import is_provider_key, provider_key

ALIAS_CONFIDENCE = 85
ALIAS_RULE = "book.alias"
MODEL_RULE = "book.model"
MOST_BYTES = 16 << 20


class BookError(TokenLedgerError):
    """The pricing book cannot be used as it is; the message names file, place and remedy."""


class Book:
    """A pricing book that can be priced with."""

    def __init__(self, document: PricingBook, place: str) -> None:
        self.document = document
        self.place = place
        self.as_of = as_of(document)
        # a provider's own name is nobody's alias
        self._providers = {
            alias: target for alias, target in document.provider_aliases.items() if target in document.providers
        } | {name: name for name in document.providers}
        self._models: dict[str, dict[str, str]] = {}
        self._aliases: dict[str, dict[str, str]] = {}
        self.rows: list[list[str]] = []
        """Cells in the order of `rates.BOOK_COLUMNS`."""
        for name, provider in document.providers.items():
            self._models[name] = {}
            self._aliases[name] = {look_up_key(alias): target for alias, target in provider.model_aliases.items()}
        names: dict[str, list[str]] = {}
        for name, key in self._providers.items():
            names.setdefault(key, []).append(name)
        gone = superseded(document)
        for one in book_rows(document):
            # under every name of the provider: a request is looked up by the one that it was booked under
            for found in cells(one, document, self.as_of, gone):
                # an entry without any rate says nothing of a model, not even that it is one
                self._models[one.provider][look_up_key(canonical(one.model))] = canonical(one.model)
                self.rows += [[*found[:-1], name] for name in names.get(one.provider, ())]

    def provider(self, name: str) -> str | None:
        """Return the book's key of a provider, by its name or an alias; None where the book has none."""
        return self._providers.get(name)

    def named(self, provider: str, name: ModelName) -> ModelName:
        """Return the name under which the book prices a model; the name itself where it says nothing of it.

        A model of the book matches by canonical id or by its own spelling (confidence 100: it is spelled out there); an
        alias leads to a model of the book or of the price list (confidence 85: curated).
        """
        key = self._providers.get(provider)
        if key is None:
            return name
        spelling = look_up_key(name.model)
        if (model := self._models[key].get(spelling)) is not None:
            if name.confidence >= MIN_CANONICAL:
                return msgspec.structs.replace(name, model=model)
            return msgspec.structs.replace(name, model=model, confidence=100, rule=MODEL_RULE)
        seen = {spelling}
        target = self._aliases[key].get(spelling)
        while target is not None:
            spelling = look_up_key(canonical(target))
            if spelling in seen:
                return name  # `parse_book` refuses cycles; a book made in memory must not hang
            seen.add(spelling)
            following = None if spelling in self._models[key] else self._aliases[key].get(look_up_key(target))
            if following is None:
                confidence = min(ALIAS_CONFIDENCE, name.confidence) if name.confidence >= 60 else ALIAS_CONFIDENCE
                model = self._models[key].get(spelling, canonical(target))
                return msgspec.structs.replace(name, model=model, confidence=confidence, rule=ALIAS_RULE)
            target = following
        return name

    def subscriptions(self) -> dict[str, Decimal]:
        """Return the monthly fee in USD of every provider that has one above 0, by the key requests are booked under.

        That is the book's own key, or what is usual for it (`openai`: `codex`), or that of one of its aliases.
        """
        found: dict[str, Decimal] = {}
        for name, provider in self.document.providers.items():
            if provider.subscription_usd_month > 0:
                key = next(filter(is_provider_key, map(provider_key, self._names(name))), name)
                found[key] = found.get(key, Decimal(0)) + provider.subscription_usd_month
        return found

    def _names(self, key: str) -> list[str]:
        """A provider's own key, then its aliases."""
        return [key, *(name for name, target in self._providers.items() if target == key and name != key)]


def read_bytes(path: Path) -> bytes | None:
    """Return the bytes of a book, None where there is none.  Raises BookError for what is no readable file."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise BookError(f"{path}: is no regular file; make it a readable file or remove it")
        if found.st_size > MOST_BYTES:
            raise BookError(f"{path}: larger than {MOST_BYTES >> 20} MB; a pricing book is a few kilobytes of JSON")
        return path.read_bytes()
    except FileNotFoundError as error:
        if path.is_symlink():
            raise BookError(f"{path}: leads to a file that is not there; restore it or remove the link") from error
        return None
    except OSError as error:
        raise BookError(f"{path}: {error.strerror or error}; make it a readable file or remove it") from error


def parse_book(content: bytes, place: str) -> Book:
    """Return the book in these bytes; `place` is what messages call them.  Raises BookError."""
    document = parse_document(content, place)
    if problem := next(problems(document), None):
        raise BookError(f"{place}: {problem}")
    return Book(document, place)


def parse_document(content: bytes, place: str) -> PricingBook:
    """Return the document in the contract's types, its figures unjudged.  Raises BookError."""
    try:
        document = msgspec.json.decode(content.removeprefix(b"\xef\xbb\xbf"), type=PricingBook)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BookError(f"{place}: is no pricing book ({error}); `tokenledger pricing lint` says more") from error
    if document.schema_version > BOOK_SCHEMA_VERSION:
        raise BookError(f"{place}: schema_version {document.schema_version} is newer than this program; update it")
    return document
