"""One checkpoint in, a model's folder out: the graph, the Core ML package, golden texts, and last the manifest.

Here: what is made, in which order it becomes visible, and when there is nothing to do. Not here: where the checkpoint
comes from (`fetch`), how graphs are written (`onnx_graph`, `coreml_graph`), and how backends agree (`verification`).
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from tokenledger_dagster import __version__
from tokenledger_dagster.contracts.inference import BuildReport, FetchedFiles
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.home import Home
from tokenledger_dagster.inference.clock import utc_stamp
from tokenledger_dagster.inference.coreml_graph import (
    PACKAGE_PRECISION,
    PACKAGE_SPEC,
    PACKAGE_WEIGHTS,
    build_mlpackage,
)
from tokenledger_dagster.inference.encoder import as_float64, reference_vector
from tokenledger_dagster.inference.fetch import fetch_within, fetched_before
from tokenledger_dagster.inference.manifest import check_files, digest_of, read_manifest, sha256_of, write_manifest
from tokenledger_dagster.inference.model_card import FETCHED, ModelCard
from tokenledger_dagster.inference.model_folder import SCHEMA_VERSION, GoldenText, Manifest, ModelFolder, ModelSpec
from tokenledger_dagster.inference.model_store import move_in, workshop
from tokenledger_dagster.inference.onnx_graph import IR_VERSION, OPSET, build_onnx
from tokenledger_dagster.inference.sources import Note
from tokenledger_dagster.inference.switch import missing_packages, model_folder
from tokenledger_dagster.inference.weights import read_spec, read_weights

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["build"]

RECIPE = "1"
"""Goes up when the same checkpoint would give other files, so that what was built before is built again."""
_NEEDED = ("numpy", "onnx", "safetensors", "tokenizers")
_PACKAGES = (*_NEEDED, "coremltools")
_WEIGHT_BIN = f"model.mlpackage/{PACKAGE_WEIGHTS}"


def build(home: Home, card: ModelCard, *, force: bool = False, note: Note) -> BuildReport:
    """Make the model of this home from its checkpoint, which is fetched first where there is none.

    Args:
        home: where it goes, below `models/`.
        card: which model it is.
        force: make it anew though everything is up to date.
        note: progress, a line each.

    Raises:
        TokenLedgerError: a package is missing, no source served, the checkpoint describes another kind of model, or
            the home cannot be written. Without a manifest there is no model, and a broken build leaves none.
    """
    started = time.monotonic()
    missing = missing_packages(_NEEDED)
    if missing:
        raise TokenLedgerError(f"{', '.join(missing)}: not installed, and needed to build; run `make setup-inference`")
    folder = model_folder(home)
    with workshop(home) as aside:
        fetched = fetched_before(folder)
        if fetched is None:
            fetch_within(aside, home, card, None, allow_unpinned=False, force=True, note=note)
            fetched = fetched_before(folder)
            if fetched is None:
                raise TokenLedgerError(f"{folder.root}: another program changes its files; try again")
        manifest = None if force else _up_to_date(folder, card, fetched)
        changed = manifest is None
        if manifest is None:
            manifest = _make(aside, folder, card, fetched, note)
    left_out = [] if manifest.coreml_tokens else [_NO_COREML]
    return BuildReport(
        generated_at=utc_stamp(),
        model=manifest.model,
        folder=str(folder.root),
        changed=changed,
        source=manifest.source,
        data_version=digest_of(manifest),
        files=manifest.files,
        left_out=left_out,
        duration_ms=round((time.monotonic() - started) * 1000),
    )


_NO_COREML = "model.mlpackage: coremltools is not installed; run `make setup-inference`, then build again"


def _has_coremltools() -> bool:
    return not missing_packages(["coremltools"])


def _up_to_date(folder: ModelFolder, card: ModelCard, fetched: FetchedFiles) -> Manifest | None:
    """The manifest, where building again would give the same; reads every file."""
    try:
        manifest = read_manifest(folder)
    except TokenLedgerError:
        return None
    same = (
        all(manifest.files[name] == fetched.files[name] for name in FETCHED)
        and manifest.source == fetched.source
        and (manifest.opset, manifest.ir_version) == (OPSET, IR_VERSION)
        and manifest.spec.max_tokens == card.max_tokens
        and [golden.text for golden in manifest.golden] == card.golden_texts
        and manifest.built_with.get("recipe") == RECIPE
        and (manifest.coreml_tokens is not None or not _has_coremltools())
        and all(one.state == "ok" for one in check_files(folder, manifest))
        and (manifest.coreml_tokens is None or _opens(folder, manifest))
    )
    return manifest if same else None


def _opens(folder: ModelFolder, manifest: Manifest) -> bool:
    """Whether the package is whole; of its description no hash is kept, since it differs from build to build."""
    if not (folder.mlpackage / PACKAGE_SPEC).is_file():
        return False
    if not _has_coremltools():
        return True  # nothing here reads it, and it could not be built again
    from tokenledger_dagster.inference.mil_evaluator import SimulatedPackage

    try:
        SimulatedPackage(folder.mlpackage, weights_sha256=manifest.files[_WEIGHT_BIN]).close()
    except TokenLedgerError:
        return False
    return True


def _make(aside: Path, folder: ModelFolder, card: ModelCard, fetched: FetchedFiles, note: Note) -> Manifest:
    """Everything made aside; then what was there loses its manifest, and what is new gets one when it is whole."""
    spec = read_spec(folder.config, card.max_tokens)
    weights = read_weights(folder.weights, spec)
    made = ModelFolder(aside)
    note("building model.onnx")
    build_onnx(weights, spec, made.onnx)
    files = {**fetched.files, "model.onnx": sha256_of(made.onnx)}
    tokens = None
    if _has_coremltools():
        note("building model.mlpackage, which takes some seconds")
        tokens = min(card.coreml_tokens, spec.max_tokens)
        build_mlpackage(weights, spec, made.mlpackage, precision=PACKAGE_PRECISION, tokens=tokens)
        files[_WEIGHT_BIN] = sha256_of(aside / _WEIGHT_BIN)
    else:
        note(_NO_COREML)
    note(f"computing {len(card.golden_texts)} golden vectors in float64")
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        model=card.name if fetched.pinned else f"{card.name} (unpinned)",
        license=card.license if fetched.pinned else "unknown",
        attribution=card.attribution if fetched.pinned else fetched.source,
        source=fetched.source,
        spec=spec,
        opset=OPSET,
        ir_version=IR_VERSION,
        coreml_tokens=tokens,
        files=files,
        golden=_golden(folder, card, spec, weights),
        built_with=_built_with(),
        created_at=utc_stamp(),
    )
    folder.manifest.unlink(missing_ok=True)
    move_in(made.onnx, folder.onnx)
    if tokens is not None:
        move_in(made.mlpackage, folder.mlpackage)
    else:
        shutil.rmtree(folder.mlpackage, ignore_errors=True)  # of an earlier build, and in no manifest any more
    write_manifest(folder, manifest)
    return manifest


def _golden(
    folder: ModelFolder, card: ModelCard, spec: ModelSpec, weights: Mapping[str, npt.NDArray[np.float32]]
) -> list[GoldenText]:
    from tokenledger_dagster.inference.tokenization import load_embedding_tokenizer

    tokenizer, precise = load_embedding_tokenizer(folder.tokenizer, spec.max_tokens), as_float64(weights)
    found = []
    for text in card.golden_texts:
        ids = tokenizer.encode(text)
        if max(ids) >= spec.vocab_size:
            raise TokenLedgerError(
                f"{folder.tokenizer}: has tokens that {folder.weights.name} has no row for; fetch both from one place"
            )
        try:
            vector = reference_vector(precise, spec, ids)
        except ValueError as error:
            text = f"{folder.weights}: {error}; fetch the model again with `tokenledger models fetch --force`"
            raise TokenLedgerError(text) from error
        found.append(GoldenText(text=text, ids=ids, vector=vector))
    return found


def _built_with() -> dict[str, str]:
    versions = {"tokenledger": __version__, "recipe": RECIPE}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
