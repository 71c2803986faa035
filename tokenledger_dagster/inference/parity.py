"""How far backends are from vectors computed in float64, and from how far on they are wrong.

Here: the comparison, one backend against the golden texts, and the table over all of them. Not here: the thresholds
(`config/inference.yaml`, section `parity`), and what follows from a failure (`loading`, `cli/models`).

Texts are compared in padded batches, as they are embedded: a backend that forgets the mask agrees on texts alone.
Cosines are computed in float64; in float32 rounding alone would make 6e-7 of them.
"""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tokenledger_dagster.inference.backend import BackendError, EmbeddingBackend, LoadRefusedError, Precision
from tokenledger_dagster.inference.manifest import AGAIN
from tokenledger_dagster.inference.policy import policy

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from tokenledger_dagster.inference.model_folder import Manifest, ModelFolder
    from tokenledger_dagster.inference.weights import Weights

__all__ = ["ParityRow", "golden_error", "parity_table"]

REFERENCE = "float64 reference"
_ROWS = 8
"""Texts of a batch."""
_SIMULATED_TIMEOUT_S = 600.0
"""The evaluator is no service: it may take what a busy machine needs."""


class ParityRow(NamedTuple):
    """One backend against the reference."""

    backend: str
    against: str
    precision: Precision | None
    """None where it was not loaded."""
    label: str
    """What agreement proves: "parity", "Core ML parity" on a Mac, or "graph parity (simulated)" anywhere."""
    texts: int
    """How many were compared."""
    max_abs: float | None
    """Largest difference of one component; None where nothing was compared."""
    max_one_minus_cos: float | None
    """Largest 1 - cosine of one text, in float64."""
    max_abs_limit: float | None
    max_one_minus_cos_limit: float | None
    passed: bool | None
    """None where it cannot be compared on this machine."""
    why: str
    """Why it failed, or was not compared; "" where it passed."""


class _Subject(NamedTuple):
    name: str
    label: str
    load: Callable[[], EmbeddingBackend]
    timeout_s: float


def golden_error(backend: EmbeddingBackend, manifest: Manifest) -> tuple[float, float]:
    """How far a backend is from the golden vectors of a manifest.

    Golden texts of more tokens than the backend takes are left out.

    Args:
        backend: loaded.
        manifest: of the model that it loaded.

    Returns:
        Largest difference of one component, and largest 1 - cosine of one text, both infinite where an answer is not
        finite or has no length.

    Raises:
        LoadRefusedError: the manifest holds no golden text that the backend takes.
        BackendError: the backend failed, or answered another number of vectors or another length.
    """
    golden = [one for one in manifest.golden if len(one.ids) <= backend.max_tokens]
    if not golden:
        text = f"manifest: has no golden text of up to {backend.max_tokens} tokens; {AGAIN}"
        raise LoadRefusedError("golden", text)
    actual = _vectors(backend, [one.ids for one in golden], policy().timeouts[backend.name])
    return _difference(actual, [one.vector for one in golden])


def parity_table(
    folder: ModelFolder, manifest: Manifest, texts: Sequence[str], *, noise_floor: bool = False, threads: int = 1
) -> list[ParityRow]:
    """Every backend of this machine against the encoder in float64, on the golden texts and some more.

    A text that is longer than a backend takes is compared by its first tokens and the [SEP].

    Args:
        folder: a built model.
        manifest: the folder's.
        texts: any; the golden texts are compared as well.
        noise_floor: also build the package in fp32, in a temporary folder, and compare it: what differs there is the
            graph, since fp16 is not in the way. Takes some seconds and twice the memory of the weights.
        threads: of one call on the processor.

    Raises:
        TokenLedgerError: the checkpoint or the tokenizer cannot be used, so that there is no reference.
    """
    from tokenledger_dagster.inference.tokenization import load_embedding_tokenizer
    from tokenledger_dagster.inference.weights import read_weights

    weights = read_weights(folder.weights, manifest.spec)
    tokenizer = load_embedding_tokenizer(folder.tokenizer, manifest.spec.max_tokens)
    rows = [one.ids for one in manifest.golden] + [tokenizer.encode(text) for text in texts]
    expected = _Reference(weights, manifest)
    with tempfile.TemporaryDirectory(prefix="tokenledger-parity-") as aside:
        subjects = list(_subjects(folder, manifest, threads))
        if noise_floor and manifest.coreml_tokens is not None:
            subjects.append(_noise_floor(weights, manifest, manifest.coreml_tokens, Path(aside), threads))
        return [_compared(subject, rows, expected) for subject in subjects]


def _subjects(folder: ModelFolder, manifest: Manifest, threads: int) -> Iterator[_Subject]:
    from tokenledger_dagster.inference.loading import load_backend

    timeouts = policy().timeouts
    for name in ("onnx", "numpy"):
        yield _Subject(name, "parity", partial(load_backend, name, folder, manifest, threads=threads), timeouts[name])
    machine: str = sys.platform  # a name, since a type checker takes the branch for unreachable
    if machine == "darwin":
        real = partial(load_backend, "coreml", folder, manifest, compute_units=policy().coreml.compute_units)
        yield _Subject("coreml", "Core ML parity", real, timeouts["coreml"])
    yield _Subject(
        "coreml package",
        "graph parity (simulated)",
        partial(_simulated, folder, manifest, threads),
        _SIMULATED_TIMEOUT_S,
    )


def _simulated(folder: ModelFolder, manifest: Manifest, threads: int) -> EmbeddingBackend:
    from tokenledger_dagster.inference.coreml_graph import PACKAGE_WEIGHTS
    from tokenledger_dagster.inference.mil_evaluator import SimulatedPackage

    if manifest.coreml_tokens is None:
        text = f"{folder.mlpackage}: was not built; run `make setup-inference`, then `tokenledger models build --force`"
        raise LoadRefusedError("platform", text)
    expected = manifest.files.get(f"{folder.mlpackage.name}/{PACKAGE_WEIGHTS}")
    if expected is None:
        raise LoadRefusedError("files", f"{folder.manifest}: does not tell the hash of the package; {AGAIN}")
    return SimulatedPackage(folder.mlpackage, weights_sha256=expected, threads=threads)


def _noise_floor(weights: Weights, manifest: Manifest, tokens: int, aside: Path, threads: int) -> _Subject:
    def load() -> EmbeddingBackend:
        from tokenledger_dagster.inference.coreml_graph import build_mlpackage
        from tokenledger_dagster.inference.mil_evaluator import SimulatedPackage

        path = aside / "fp32.mlpackage"
        build_mlpackage(weights, manifest.spec, path, precision="fp32", tokens=tokens)
        return SimulatedPackage(path, threads=threads)

    return _Subject("coreml fp32 package", "graph parity (simulated)", load, _SIMULATED_TIMEOUT_S)


def _compared(subject: _Subject, rows: Sequence[Sequence[int]], expected: _Reference) -> ParityRow:
    row = ParityRow(subject.name, REFERENCE, None, subject.label, 0, None, None, None, None, None, "")
    try:
        with closing(subject.load()) as backend:
            limit = policy().parity[backend.precision]
            row = row._replace(
                precision=backend.precision,
                texts=len(rows),
                max_abs_limit=limit.max_abs,
                max_one_minus_cos_limit=limit.max_one_minus_cos,
            )
            cut = [_cut(ids, backend.max_tokens) for ids in rows]
            max_abs, cosine = _difference(_vectors(backend, cut, subject.timeout_s), [expected(ids) for ids in cut])
    except LoadRefusedError as error:
        # a machine that cannot run it proves nothing against it
        return row._replace(passed=None if error.stage == "platform" else False, why=f"{error.stage}: {error}")
    except BackendError as error:
        return row._replace(passed=False, why=str(error))
    passed = max_abs <= limit.max_abs and cosine <= limit.max_one_minus_cos
    why = "" if passed else f"differs by {max_abs:.1e} (1 - cosine {cosine:.1e}); {AGAIN}"
    return row._replace(max_abs=max_abs, max_one_minus_cos=cosine, passed=passed, why=why)


class _Reference:
    """Vectors of token lists by the encoder in float64, each computed once and alone."""

    def __init__(self, weights: Weights, manifest: Manifest) -> None:
        from tokenledger_dagster.inference.encoder import as_float64

        self._weights = as_float64(weights)
        self._spec = manifest.spec
        self._known: dict[tuple[int, ...], list[float]] = {}

    def __call__(self, ids: Sequence[int]) -> list[float]:
        from tokenledger_dagster.inference.encoder import reference_vector

        key = tuple(ids)
        if key not in self._known:
            try:
                self._known[key] = reference_vector(self._weights, self._spec, ids)
            except ValueError as error:
                raise BackendError(f"reference: {error}; {AGAIN}") from error
        return self._known[key]


def _cut(ids: Sequence[int], most: int) -> list[int]:
    return list(ids) if len(ids) <= most else [*ids[: most - 1], ids[-1]]


def _vectors(backend: EmbeddingBackend, rows: Sequence[Sequence[int]], timeout_s: float) -> npt.NDArray[np.float64]:
    import numpy as np

    answers = []
    for first in range(0, len(rows), _ROWS):
        batch = rows[first : first + _ROWS]
        ids = np.zeros((len(batch), max(map(len, batch))), dtype=np.int64)
        mask = np.zeros_like(ids)
        for place, row in enumerate(batch):
            ids[place, : len(row)], mask[place, : len(row)] = row, 1
        answer = np.asarray(backend.embed(ids, mask, timeout_s=timeout_s), dtype=np.float64)
        if answer.shape != (len(batch), backend.dims):
            raise BackendError(f"{backend.name}: shape {list(answer.shape)} for {len(batch)} texts; {AGAIN}")
        answers.append(answer)
    return np.concatenate(answers)


def _difference(actual: npt.NDArray[np.float64], expected: Sequence[Sequence[float]]) -> tuple[float, float]:
    import numpy as np

    wanted = np.array(expected, dtype=np.float64)
    if wanted.shape != actual.shape:
        raise BackendError(f"reference: has vectors of {wanted.shape[1:]} numbers, not of {actual.shape[1:]}; {AGAIN}")
    with np.errstate(all="ignore"):
        lengths = np.linalg.norm(actual, axis=1) * np.linalg.norm(wanted, axis=1)
        max_abs = float(np.abs(actual - wanted).max())
        away = float((1 - (actual * wanted).sum(axis=1) / lengths).max())
    # a NaN is not above any limit
    return (max_abs if math.isfinite(max_abs) else math.inf, away if math.isfinite(away) else math.inf)
