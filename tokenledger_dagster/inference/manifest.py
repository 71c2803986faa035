"""`manifest.json` of a model's folder: written last, read with distrust, and every file held against it.

Here: the file, what it may say, and hashes. Not here: its shape (`model_folder`), and whether a backend that was loaded
from these files computes what it should (`loading`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

import msgspec

from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.fileio import write_json_atomic
from tokenledger_dagster.inference.model_folder import (
    LARGEST_SIZE,
    MOST_LAYERS,
    SCHEMA_VERSION,
    Manifest,
    ModelFolder,
)

__all__ = [
    "AGAIN",
    "FileState",
    "check_files",
    "digest_of",
    "read_manifest",
    "sha256_of",
    "write_manifest",
]

REQUIRED = ("model.safetensors", "config.json", "tokenizer.json", "model.onnx")
AGAIN = "build it again with `tokenledger models build`"
_MAX_BYTES = 64 << 20
"""A manifest is some hundred kilobytes; what is larger is none."""
_HEX = set("0123456789abcdef")
_NORM_TOLERANCE = 1e-6


class FileState(NamedTuple):
    """One file of the folder against the manifest."""

    path: str
    """Below the folder, with slashes."""
    state: Literal["ok", "missing", "unreadable", "changed"]
    expected: str
    """SHA-256 that the manifest tells."""
    actual: str
    """SHA-256 that the file has; "" where it could not be read."""
    problem: str
    """One line that names file and remedy; "" where all is well."""


def write_manifest(folder: ModelFolder, manifest: Manifest) -> None:
    """Make `manifest` the folder's, which declares everything else in it whole; so it comes last."""
    write_json_atomic(folder.manifest, manifest)


def read_manifest(folder: ModelFolder) -> Manifest:
    """The folder's manifest.

    Raises:
        TokenLedgerError: it is not there, cannot be read, or says something impossible; one line with the remedy.
    """
    path = folder.manifest
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise TokenLedgerError(f"{path}: is no file; remove it, then {AGAIN}")
        if path.stat().st_size > _MAX_BYTES:
            raise TokenLedgerError(f"{path}: is too large to be a manifest; {AGAIN}")
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise TokenLedgerError(f"{path}: is not there; run `tokenledger models build`") from error
    except OSError as error:
        raise TokenLedgerError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    try:
        version = msgspec.json.decode(raw, type=_Versioned).schema_version
        if version > SCHEMA_VERSION:
            raise TokenLedgerError(f"{path}: schema_version {version} is newer than this program; update tokenledger")
        manifest = msgspec.json.decode(raw, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TokenLedgerError(f"{path}: is no manifest ({error}); {AGAIN}") from error
    wrong = _impossible(manifest)
    if wrong:
        raise TokenLedgerError(f"{path}: {wrong}; {AGAIN}")
    return manifest


class _Versioned(msgspec.Struct, frozen=True):
    """What a manifest of any version says."""

    schema_version: int


def _impossible(manifest: Manifest) -> str:
    """What no build would have written; empty where there is nothing."""
    for name, digest in manifest.files.items():
        place = PurePosixPath(name)
        if place.is_absolute() or ".." in place.parts or not place.parts or "\0" in name or "\\" in name:
            return f"file {name!r} lies outside the folder"
        if len(digest) != 64 or not _HEX.issuperset(digest):
            return f"file {name!r} has no SHA-256"
    missing = [name for name in REQUIRED if name not in manifest.files]
    if missing:
        return f"does not tell the hash of {', '.join(missing)}"
    spec = manifest.spec
    counts = (spec.layers, spec.heads, spec.dims, spec.intermediate, spec.vocab_size, spec.max_positions)
    sane = min(*counts, spec.max_tokens) >= 1 and max(counts) <= LARGEST_SIZE and spec.layers <= MOST_LAYERS
    fits = sane and spec.dims % spec.heads == 0 and spec.max_tokens <= spec.max_positions
    if not fits or not 0 < spec.layer_norm_eps < 1:
        return "the model's shape is impossible"
    if manifest.coreml_tokens is not None and not 1 <= manifest.coreml_tokens <= spec.max_positions:
        return f"coreml_tokens {manifest.coreml_tokens} is impossible"
    return _impossible_golden(manifest)


def _impossible_golden(manifest: Manifest) -> str:
    spec = manifest.spec
    if not manifest.golden:
        return "has no golden texts"
    for number, golden in enumerate(manifest.golden):
        if not 1 <= len(golden.ids) <= spec.max_tokens or not all(0 <= one < spec.vocab_size for one in golden.ids):
            return f"golden text {number} has impossible token ids"
        if len(golden.vector) != spec.dims or abs(math.hypot(*golden.vector) - 1) > _NORM_TOLERANCE:
            return f"golden text {number} has no unit vector of {spec.dims} numbers"
    return ""


def check_files(folder: ModelFolder, manifest: Manifest, names: Iterable[str] | None = None) -> list[FileState]:
    """Hold files against the manifest, all of them or the named ones, in the manifest's order.

    Reads every byte: about 1.5 ms per megabyte. A name that the manifest does not have counts as missing.
    """
    wanted = manifest.files if names is None else {name: manifest.files.get(name, "") for name in names}
    return [_file_state(folder.root, name, expected) for name, expected in wanted.items()]


def _file_state(root: Path, name: str, expected: str) -> FileState:
    path = root / name
    if not expected:
        return FileState(name, "missing", "", "", f"{path}: is not in the manifest; {AGAIN}")
    if path.exists() and not path.is_file() and not path.is_dir():  # a pipe would be waited for
        return FileState(name, "unreadable", expected, "", f"{path}: is no file; remove it, then {AGAIN}")
    try:
        actual = sha256_of(path)
    except (FileNotFoundError, NotADirectoryError):
        return FileState(name, "missing", expected, "", f"{path}: is not there; {AGAIN}")
    except OSError as error:
        text = f"{path}: cannot be read ({error.strerror}); check its permissions"
        return FileState(name, "unreadable", expected, "", text)
    if actual != expected:
        text = f"{path}: SHA-256 is {actual[:12]}…, the manifest says {expected[:12]}…; {AGAIN}"
        return FileState(name, "changed", expected, actual, text)
    return FileState(name, "ok", expected, actual, "")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file in hexadecimal.  Raises OSError."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def digest_of(manifest: Manifest) -> str:
    """What stands for the artifacts as a whole: equal files, equal digest, whoever built them and when."""
    listed = "".join(f"{name}\0{digest}\n" for name, digest in sorted(manifest.files.items()))
    return hashlib.sha256(listed.encode()).hexdigest()[:32]
