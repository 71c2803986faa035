"""The load check: no backend is ready before its files, its runtime and its answers are what they must be.

Here: the steps in their order, each refusal with its step. Not here: each backend (`numpy_backend`, `onnx_backend`,
`coreml_backend`), what stands in for a refused one (`chain`), and how long a loaded one is kept (`model_cache`).

The order is: the platform has the runtime; the files are there; their SHA-256 is the manifest's; the runtime has what
the graph asks for; it loads; names, types and shapes agree; it runs where it was asked to; and the golden texts get the
vectors that were computed in float64 when the model was built. Only the last tells plausible weights that are wrong.
"""

from __future__ import annotations

import importlib
import importlib.util
import stat
import sys
from typing import TYPE_CHECKING

from tokenledger_dagster.inference.backend import BackendError, BackendName, EmbeddingBackend, LoadRefusedError
from tokenledger_dagster.inference.manifest import check_files
from tokenledger_dagster.inference.policy import policy
from tokenledger_dagster.inference.sealed_files import SealedFiles

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tokenledger_dagster.inference.model_folder import Manifest, ModelFolder

__all__ = ["load_backend"]

_RUNTIMES: dict[BackendName, tuple[str, ...]] = {
    "coreml": ("numpy", "coremltools"),
    "onnx": ("numpy", "onnxruntime"),
    "numpy": ("numpy", "safetensors", "threadpoolctl"),
}
_INSTALL = "install the extras with `make setup-inference`"
_BUILD = "build the model with `tokenledger models build`"


def load_backend(
    name: BackendName,
    folder: ModelFolder,
    manifest: Manifest,
    *,
    threads: int = 1,
    compute_units: str = "CPU_AND_NE",
    providers: Sequence[str] | None = None,
) -> EmbeddingBackend:
    """A backend that has passed every step.

    Reads all bytes of the files that it depends on: about 0.5 s for 90 MB of weights, once.

    Args:
        name: which backend; no other one stands in for it here.
        folder: the model's.
        manifest: what its files must be.
        threads: that one call may take on the processor.
        compute_units: what Core ML may run on.
        providers: what ONNX Runtime must run on, in order; the processor where none are given.

    Raises:
        LoadRefusedError: with the step that refused, in the order of `LoadStage`; whatever was opened is closed again.
    """
    _check_platform(name)
    needed = _needed_files(name, manifest, folder)
    for path in needed:
        _check_there(folder.root / path)
    files = SealedFiles(folder.root / path for path in needed)
    for state in check_files(folder, manifest, needed):
        if state.problem:
            raise LoadRefusedError(
                "sha256" if state.state == "changed" or not state.expected else "files", state.problem
            )
    try:
        backend = _open(name, folder, manifest, threads, compute_units, providers)
    except (OSError, MemoryError) as error:  # gone since it was hashed, or larger than what is left
        raise LoadRefusedError(
            "session", f"{folder.root}: {name} cannot be loaded ({str(error) or 'not enough memory'}); {_BUILD}"
        ) from error
    try:
        changed = files.changed()
        if changed is not None:
            raise LoadRefusedError("sha256", f"{changed}: was replaced while it was loaded; ask again")
        _check_golden(backend, manifest, folder)
    except BaseException:
        backend.close()
        raise
    return backend


def _check_platform(name: BackendName) -> None:
    """Asked before anything heavy is imported: coremltools takes seconds, and cannot predict elsewhere."""
    if name == "coreml" and sys.platform != "darwin":
        raise LoadRefusedError("platform", f"coreml: runs on macOS, and this is {sys.platform}; ask for onnx")
    for package in _RUNTIMES[name]:
        try:
            if package == "coremltools":
                found = importlib.util.find_spec(package) is not None
            elif package == "onnxruntime":
                from tokenledger_dagster.inference.onnx_backend import quiet_runtime

                found = quiet_runtime() is not None
            else:
                importlib.import_module(package)
                found = True
        except Exception:  # a library of another version, or half removed, raises whatever it stumbles over first
            found = False
        if not found:
            raise LoadRefusedError("platform", f"{name}: {package} is not installed or is broken; {_INSTALL}")


def _needed_files(name: BackendName, manifest: Manifest, folder: ModelFolder) -> list[str]:
    """What the answers of a backend depend on, below the folder; the ids come from the tokenizer."""
    if name == "coreml":
        inside = [path for path in manifest.files if path.startswith(f"{folder.mlpackage.name}/")]
        if not inside:
            raise LoadRefusedError("files", f"{folder.mlpackage}: was not built; {_BUILD}")
    else:
        inside = [(folder.onnx if name == "onnx" else folder.weights).name]
    return [*inside, folder.tokenizer.name]


def _check_there(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise LoadRefusedError("files", f"{path}: there is no such file; {_BUILD}") from error
    except (OSError, ValueError) as error:
        raise LoadRefusedError("files", f"{path}: cannot be read ({error}); {_BUILD}") from error
    if not stat.S_ISREG(mode):  # opening a pipe would wait for ever
        kind = "a folder" if stat.S_ISDIR(mode) else "no regular file"
        raise LoadRefusedError("files", f"{path}: is {kind}; remove it and {_BUILD}")


def _open(
    name: BackendName,
    folder: ModelFolder,
    manifest: Manifest,
    threads: int,
    compute_units: str,
    providers: Sequence[str] | None,
) -> EmbeddingBackend:
    if name == "coreml":
        from tokenledger_dagster.inference.coreml_backend import load_coreml

        return load_coreml(folder, manifest, compute_units)
    if name == "numpy":
        from tokenledger_dagster.inference.numpy_backend import load_numpy

        return load_numpy(folder.weights, manifest.spec, threads=threads)
    from tokenledger_dagster.inference.capability import check_capability
    from tokenledger_dagster.inference.onnx_backend import CPU, load_onnx

    check_capability(folder.onnx)
    return load_onnx(
        folder.onnx, manifest.spec, threads=threads, providers=(CPU,) if providers is None else tuple(providers)
    )


def _check_golden(backend: EmbeddingBackend, manifest: Manifest, folder: ModelFolder) -> None:
    from tokenledger_dagster.inference.parity import golden_error

    if not manifest.golden:
        raise LoadRefusedError(
            "golden", f"{folder.manifest}: has no golden texts to hold {backend.name} against; {_BUILD}"
        )
    try:
        max_abs, max_one_minus_cos = golden_error(backend, manifest)
    except (BackendError, MemoryError) as error:
        raise LoadRefusedError(
            "golden",
            f"{folder.root}: {backend.name} fails on a golden text ({str(error) or 'not enough memory'}); {_BUILD}",
        ) from error
    limit = policy().parity[backend.precision]
    # asked so that a NaN is no pass
    if not (max_abs <= limit.max_abs and max_one_minus_cos <= limit.max_one_minus_cos):
        raise LoadRefusedError(
            "golden",
            f"{folder.root}: {backend.name} differs from the golden vectors by {max_abs:.2g} "
            f"(1 - cosine {max_one_minus_cos:.2g}), {backend.precision} may by {limit.max_abs:.2g} "
            f"({limit.max_one_minus_cos:.2g}); {_BUILD}",
        )
