"""A saved Core ML package, evaluated by numpy on any machine: its own operations, weights and types, read from disk.

Here: reading the package back, and what each operation means. Not here: building it (`coreml_graph`), and running it
for real (`coreml_backend`).

What agrees here shows that the graph, its names, masks and weights are right, and that fp16 can hold every value
between two operations. It shows nothing about Apple's kernels, which may add in fp16 as well, nor about speed or
dispatch: so it is called graph parity (simulated), and never Core ML parity.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tokenledger_dagster.inference.backend import (
    BackendError,
    BackendName,
    BackendTimeoutError,
    LoadRefusedError,
    Precision,
)
from tokenledger_dagster.inference.coreml_graph import PACKAGE_SPEC, PACKAGE_WEIGHTS, quiet_coremltools
from tokenledger_dagster.inference.coreml_worker import IDS, MASK, VECTOR
from tokenledger_dagster.inference.manifest import AGAIN, sha256_of
from tokenledger_dagster.inference.processor_threads import limited_threads

if TYPE_CHECKING:
    import numpy.typing as npt

    from tokenledger_dagster.inference.backend import Ids, Vectors

    Array = npt.NDArray[Any]
    Arguments = Mapping[str, Any]
    """What an operation is given, by the names of its parameters; floats as float32."""

__all__ = ["OPERATIONS", "SimulatedPackage"]


class SimulatedPackage:
    """A package as a backend, for comparing; it never serves anybody."""

    def __init__(self, path: Path, *, weights_sha256: str | None = None, threads: int = 1) -> None:
        """Read it.

        Args:
            path: the package's folder.
            weights_sha256: what its `weight.bin` must be, in hexadecimal. Without it nothing notices weights that were
                damaged: leave it out only where the package was just written.
            threads: that one call may take, at least 1.

        Raises:
            LoadRefusedError: files are missing or unreadable, the weights are others, inputs and outputs are not those
                of an encoder, or an operation is not known here.
            TokenLedgerError: coremltools is not installed.
        """
        self.name: BackendName = "coreml"
        self.compute_unit = "numpy (simulated)"
        self.size_bytes = _checked_files(path, weights_sha256)
        function = _read(path)
        self.max_tokens, self.dims = _signature(path, function)
        self._constants: dict[str, Any] = {}
        self._steps: list[_Step] = []
        self.precision: Precision = "fp32"
        self._threads = max(1, threads)
        for operation in function.operations:
            self._add(path, operation)

    @property
    def operations(self) -> list[str]:
        """Kinds of its operations in the order in which they run, constants left out."""
        return [step.kind for step in self._steps]

    def embed(self, ids: Ids, mask: Ids, *, timeout_s: float) -> Vectors:
        """As in the protocol, except that a text of more tokens than the package takes is an error."""
        import numpy as np

        deadline = time.monotonic() + timeout_s
        vectors = np.empty((len(ids), self.dims), dtype=np.float32)
        for place, (row, kept) in enumerate(zip(ids, mask, strict=True)):
            length = int(np.flatnonzero(kept)[-1]) + 1
            if length > self.max_tokens:
                raise BackendError(f"simulated package: {length} tokens; it takes {self.max_tokens}, cut the text")
            framed = np.zeros((2, 1, self.max_tokens), dtype=np.int32)
            framed[0, 0, :length], framed[1, 0, :length] = row[:length], kept[:length]
            vectors[place] = self._evaluate(framed[0], framed[1], deadline)[0]
        return vectors

    def close(self) -> None:
        """Give back the weights; a second call does nothing."""
        self._steps, self._constants = [], {}

    def _evaluate(self, ids: Array, mask: Array, deadline: float) -> Array:
        import numpy as np

        if not self._steps:
            raise BackendError("simulated package: is closed; load it again")
        values = {**self._constants, IDS: ids, MASK: mask}
        # what leaves fp16's range becomes infinite and shows in the result
        with limited_threads(self._threads), np.errstate(all="ignore"):
            for step in self._steps:
                if time.monotonic() > deadline:
                    raise BackendTimeoutError("simulated package: did not answer in time and was stopped")
                result = OPERATIONS[step.kind]({name: values[source] for name, source in step.sources.items()})
                values[step.result] = _wide(result.astype(step.dtype))
        answer: Array = values[VECTOR]
        return answer

    def _add(self, path: Path, operation: Any) -> None:
        import numpy as np

        kind, outputs = str(operation.op_type), operation.outputs
        if kind == "const":
            value = outputs[0].val
            self._constants[outputs[0].name] = _wide(value) if isinstance(value, np.ndarray | np.generic) else value
            return
        if kind not in OPERATIONS:
            raise LoadRefusedError(
                "capability",
                f"{path}: operation {kind!r} is unknown to the evaluator; it cannot be compared on this machine",
            )
        dtype = _DTYPES.get(outputs[0].dtype.__name__)
        if dtype is None or len(outputs) != 1:
            raise LoadRefusedError("capability", f"{path}: {kind!r} gives something else than numbers; build it again")
        if dtype == "float16":
            self.precision = "fp16"
        sources = {name: source.name for name, source in operation.inputs.items()}
        self._steps.append(_Step(kind, sources, outputs[0].name, dtype))


class _Step(NamedTuple):
    kind: str
    sources: dict[str, str]
    """Name of a value by parameter."""
    result: str
    dtype: str
    """In which the package keeps the result."""


_DTYPES = {"fp16": "float16", "fp32": "float32", "int": "int32", "int32": "int32", "bool": "bool"}


def _checked_files(path: Path, weights_sha256: str | None) -> int:
    """Bytes that it will hold in memory."""
    part = path
    try:
        for part in (path / "Manifest.json", path / PACKAGE_SPEC, path / PACKAGE_WEIGHTS):
            size = part.stat().st_size
        actual = sha256_of(part) if weights_sha256 else None
    except OSError as error:
        raise LoadRefusedError("files", f"{part}: cannot be read ({error.strerror}); {AGAIN}") from error
    if weights_sha256 and actual != weights_sha256:
        text = f"{part}: SHA-256 is {str(actual)[:12]}…, the manifest says {weights_sha256[:12]}…; {AGAIN}"
        raise LoadRefusedError("sha256", text)
    return 2 * size  # weights in fp16 are held as float32


def _read(path: Path) -> Any:
    """The package's program, as its authoring library understands the saved bytes."""
    with quiet_coremltools() as coremltools:
        from coremltools.converters.mil.frontend.milproto import load

        try:
            spec = coremltools.models.MLModel(str(path), skip_model_load=True).get_spec()
            weights = str((path / PACKAGE_WEIGHTS).parent)
            program = load.load_mil_proto(spec.mlProgram, spec.specificationVersion, weights)
            return program.functions["main"]
        except Exception as error:  # it raises whatever its parts raise
            told = " ".join(str(error).split())[:200] or type(error).__name__
            raise LoadRefusedError("session", f"{path}: cannot be read as a package ({told}); {AGAIN}") from error


def _signature(path: Path, function: Any) -> tuple[int, int]:
    """How many tokens it takes, and the length of its vectors."""
    given = {name: (one.dtype.__name__, tuple(one.shape)) for name, one in function.inputs.items()}
    made = [(one.name, one.dtype.__name__, tuple(one.shape)) for one in function.outputs]
    tokens = given[IDS][1][-1] if IDS in given and given[IDS][1] else 0
    dims = made[0][2][-1] if made and made[0][2] else 0
    expected = {IDS: ("int32", (1, tokens)), MASK: ("int32", (1, tokens))}
    named = {name: ("int32" if dtype == "int" else dtype, shape) for name, (dtype, shape) in given.items()}
    if named != expected or made != [(VECTOR, "fp32", (1, dims))]:
        raise LoadRefusedError("signature", f"{path}: takes {given} and gives {made}, no encoder's; {AGAIN}")
    return int(tokens), int(dims)


def _wide(value: Any) -> Any:
    """Computed with in float32, whatever it is kept in."""
    import numpy as np

    return value.astype(np.float32) if value.dtype == np.float16 else value


def _normalised(given: Arguments) -> Array:
    import numpy as np

    axes = tuple(int(axis) for axis in given["axes"])
    centred = given["x"] - given["x"].mean(axis=axes, keepdims=True)
    scale = np.sqrt(np.square(centred).mean(axis=axes, keepdims=True) + given["epsilon"])
    result: Array = centred / scale * given["gamma"] + given["beta"]
    return result


def _gelu(given: Arguments) -> Array:
    import numpy as np

    if given.get("mode", "EXACT") != "EXACT":
        raise BackendError(f"simulated package: gelu in the mode {given['mode']}; the model has the exact one")
    x = given["x"]
    erf = np.fromiter(map(math.erf, (x.ravel() * math.sqrt(0.5)).tolist()), np.float64, count=x.size)
    result: Array = x * (0.5 + 0.5 * erf.reshape(x.shape))
    return result


def _softmax(given: Arguments) -> Array:
    import numpy as np

    x, axis = given["x"], int(given["axis"])
    powers = np.exp(x - x.max(axis=axis, keepdims=True))
    result: Array = powers / powers.sum(axis=axis, keepdims=True)
    return result


def _product(given: Arguments) -> Array:
    x, y = given["x"], given["y"]
    left = x.swapaxes(-1, -2) if given.get("transpose_x") else x
    right = y.swapaxes(-1, -2) if given.get("transpose_y") else y
    result: Array = left @ right
    return result


def _gathered(given: Arguments) -> Array:
    import numpy as np

    if given.get("batch_dims"):
        raise BackendError("simulated package: gather with batch_dims, which no encoder needs; build it again")
    result: Array = np.take(given["x"], given["indices"], axis=int(given["axis"]))
    return result


def _length(given: Arguments) -> Array:
    import numpy as np

    result: Array = np.sqrt(np.square(given["x"]).sum(**_over(given)))
    return result


def _over(given: Arguments) -> dict[str, Any]:
    return {"axis": tuple(int(axis) for axis in given["axes"]), "keepdims": bool(given.get("keep_dims", False))}


def _expanded(given: Arguments) -> Array:
    import numpy as np

    return np.expand_dims(given["x"], tuple(int(axis) for axis in given["axes"]))


OPERATIONS: Mapping[str, Callable[[Arguments], Array]] = {
    "add": lambda given: given["x"] + given["y"],
    "cast": lambda given: given["x"].astype(_DTYPES[given["dtype"]]),
    "expand_dims": _expanded,
    "gather": _gathered,
    "gelu": _gelu,
    "layer_norm": _normalised,
    "linear": lambda given: given["x"] @ given["weight"].T + given["bias"],
    "matmul": _product,
    "mul": lambda given: given["x"] * given["y"],
    "real_div": lambda given: given["x"] / given["y"],
    "reduce_l2_norm": _length,
    "reduce_sum": lambda given: given["x"].sum(**_over(given)),
    "reshape": lambda given: given["x"].reshape(given["shape"]),
    "softmax": _softmax,
    "sub": lambda given: given["x"] - given["y"],
    "transpose": lambda given: given["x"].transpose(given["perm"]),
}
"""What each operation of a package means. Which of them a graph needs is up to the passes that saved it."""
