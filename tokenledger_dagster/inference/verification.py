"""Everything about a built model held against everything: files, each backend's load check, parity.

Here: the checks one after the other, none of them stopped by a failed one before, and the verdict. Not here: any single
check (`manifest`, `loading`, `parity`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import closing
from typing import NamedTuple

from tokenledger_dagster.contracts.inference import BackendCheck, FileCheck, ParityCheck, VerifyReport
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.inference.backend import (
    BACKENDS,
    BackendError,
    BackendName,
    LoadRefusedError,
    LoadStage,
)
from tokenledger_dagster.inference.clock import utc_stamp
from tokenledger_dagster.inference.loading import load_backend
from tokenledger_dagster.inference.manifest import check_files, digest_of
from tokenledger_dagster.inference.model_card import FETCHED
from tokenledger_dagster.inference.model_folder import Manifest, ModelFolder
from tokenledger_dagster.inference.parity import ParityRow, golden_error, parity_table
from tokenledger_dagster.inference.policy import policy
from tokenledger_dagster.inference.sources import Note
from tokenledger_dagster.inference.switch import missing_packages

__all__ = ["verify"]

_NEEDED = ("numpy", "safetensors", "tokenizers")
"""Of the reference: the encoder in float64 and the tokens of the texts."""


class _Loaded(NamedTuple):
    """What loading one backend came to."""

    name: BackendName
    precision: str | None = None
    compute_unit: str | None = None
    load_ms: int | None = None
    size_bytes: int | None = None
    golden: tuple[float, float] | None = None
    stage: LoadStage | None = None
    refusal: str = ""


def verify(folder: ModelFolder, manifest: Manifest, *, noise_floor: bool = False, note: Note) -> VerifyReport:
    """Check a built model in full.

    It passes where every file is what the manifest says, no backend was refused but by the platform, at least one is
    ready, and no comparison is outside its threshold. That a machine cannot run a backend is told and is no failure.

    Args:
        folder: the model's.
        manifest: the folder's.
        noise_floor: also compare a package built in fp32, where what differs is the graph alone; takes half a minute.
        note: progress, a line each.

    Raises:
        TokenLedgerError: a package is missing without which there is nothing to compare with.
    """
    missing = missing_packages(_NEEDED)
    if missing:
        raise TokenLedgerError(f"{', '.join(missing)}: not installed, and needed to verify; run `make setup-inference`")
    note("reading every file")
    files = [FileCheck(**one._asdict()) for one in check_files(folder, manifest)]
    loaded = []
    for name in BACKENDS:
        note(f"loading {name}")
        loaded.append(_load(name, folder, manifest))
    backends = [_demoted(place, loaded) for place in range(len(loaded))]
    problems = [one.problem for one in files if one.problem]
    problems += [f"{one.name} refused at {one.stage}: {one.refusal}" for one in loaded if _is_fault(one)]
    if not any(one.stage is None for one in loaded):
        problems.append("no backend is ready; see the reasons above")
    parity: list[ParityCheck] = []
    doubtful = [one.path for one in files if one.path in FETCHED and one.state != "ok"]
    if doubtful:
        # a reference made of them would accuse whoever is right
        problems.append(f"nothing to compare with: {', '.join(doubtful)} not as the manifest says")
    else:
        note("comparing with vectors computed in float64")
        try:
            parity = [_compared(row) for row in parity_table(folder, manifest, (), noise_floor=noise_floor)]
        except TokenLedgerError as error:
            problems.append(f"nothing to compare with: {error}")
    said = {one.name for one in loaded if _is_fault(one)}
    problems += [
        f"{one.subject}, {one.label}: {one.reason}"
        for one in parity
        if one.passed is False and (one.texts or one.subject not in said)
    ]
    return VerifyReport(
        generated_at=utc_stamp(),
        model=manifest.model,
        folder=str(folder.root),
        data_version=digest_of(manifest),
        model_sha256=manifest.weights_sha256,
        passed=not problems,
        files=files,
        backends=backends,
        parity=parity,
        problems=list(dict.fromkeys(problems)),
    )


def _load(name: BackendName, folder: ModelFolder, manifest: Manifest) -> _Loaded:
    """One backend through the whole load check, then closed."""
    rules = policy()
    started = time.monotonic()
    try:
        backend = load_backend(name, folder, manifest, threads=rules.threads, compute_units=rules.coreml.compute_units)
    except LoadRefusedError as error:
        return _Loaded(name, stage=error.stage, refusal=str(error))
    taken = round((time.monotonic() - started) * 1000)
    with closing(backend):
        try:
            golden = golden_error(backend, manifest)
        except (BackendError, LoadRefusedError) as error:
            return _Loaded(name, stage="golden", refusal=str(error))
        return _Loaded(name, backend.precision, backend.compute_unit, taken, backend.size_bytes, golden)


def _is_fault(one: _Loaded) -> bool:
    return one.stage is not None and one.stage != "platform"


def _demoted(place: int, loaded: Sequence[_Loaded]) -> BackendCheck:
    """Who serves the wish for one backend: itself, else the first after it that is ready."""
    one = loaded[place]
    serving = next((after for after in loaded[place:] if after.stage is None), None)
    refused = [before for before in loaded[place:] if before.stage is not None]
    if serving is not None:
        refused = refused[: loaded[place:].index(serving)]
    return BackendCheck(
        requested=one.name,
        actual=serving.name if serving else None,
        reason="; ".join(f"{before.stage}: {before.refusal}" for before in refused),
        stage=one.stage,
        precision=one.precision,
        compute_unit=one.compute_unit,
        load_ms=one.load_ms,
        size_bytes=one.size_bytes,
        golden_max_abs=_told(one.golden[0]) if one.golden else None,
        golden_max_one_minus_cos=_told(one.golden[1]) if one.golden else None,
    )


def _told(value: float | None) -> float | None:
    """JSON has no infinity; the reason tells it."""
    return value if value is not None and math.isfinite(value) else None


def _compared(row: ParityRow) -> ParityCheck:
    return ParityCheck(
        subject=row.backend,
        reference=row.against,
        label=row.label,
        precision=row.precision,
        texts=row.texts,
        max_abs=_told(row.max_abs),
        max_one_minus_cos=_told(row.max_one_minus_cos),
        allowed_max_abs=row.max_abs_limit,
        allowed_max_one_minus_cos=row.max_one_minus_cos_limit,
        passed=row.passed,
        reason=row.why,
    )
