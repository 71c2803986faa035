"""The encoder as a Core ML package, written operation by operation from the checkpoint's own tensors.

Here: the graph, and saving it. Not here: running it (`coreml_backend` on macOS, `mil_evaluator` anywhere), and the
tensors (`weights`).

The package takes one text of a fixed number of tokens, padded with 0: a fixed shape is what the Neural Engine plans
for. Mean pooling over the mask and division by the length are inside, so a padded text has the vector of the text.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.inference.backend import LoadRefusedError
from tokenledger_dagster.inference.coreml_worker import IDS, MASK, VECTOR

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from tokenledger_dagster.inference.model_folder import ModelSpec

__all__ = ["PACKAGE_PRECISION", "PACKAGE_SPEC", "PACKAGE_WEIGHTS", "build_mlpackage", "quiet_coremltools"]

PACKAGE_PRECISION: Literal["fp32", "fp16"] = "fp16"
"""Of the package in a model's folder: the Neural Engine computes in nothing else."""
PACKAGE_SPEC = "Data/com.apple.CoreML/model.mlmodel"
PACKAGE_WEIGHTS = "Data/com.apple.CoreML/weights/weight.bin"
"""The one file of a package that is the same in every build of the same weights."""

_EPSILON = 1e-7
"""Of layer norms. The checkpoint's 1e-12 is 0 in fp16; at a hidden layer's variances both give the same numbers."""
_MASKED = -1e4
"""Added to the score of a padded token: e^-10000 is 0 in every precision, and it is within fp16's range."""


def build_mlpackage(
    weights: Mapping[str, npt.NDArray[np.float32]],
    spec: ModelSpec,
    path: Path,
    *,
    precision: Literal["fp32", "fp16"],
    tokens: int = 128,
) -> None:
    """Write the package at `path`, replacing one that is there; half a package is never seen under that name.

    Args:
        weights: the checkpoint's tensors by its own names, of the shapes that `spec` tells.
        spec: the encoder's shape.
        path: a folder, `<name>.mlpackage`.
        precision: of weights and activations inside; inputs are int32 and the output is float32 either way.
        tokens: how many tokens a text has, padding and special ones counted.

    Raises:
        TokenLedgerError: more tokens than the model has positions, no coremltools, tensors that are missing or do not
            fit together, or no room to write.
    """
    if not 2 <= tokens <= spec.max_positions:
        raise TokenLedgerError(f"{path}: {tokens} tokens; the model has {spec.max_positions} positions, ask for fewer")
    with quiet_coremltools() as ct:
        try:
            model = ct.convert(
                _program(weights, spec, tokens),
                convert_to="mlprogram",
                minimum_deployment_target=ct.target.macOS13,
                compute_precision=ct.precision.FLOAT16 if precision == "fp16" else ct.precision.FLOAT32,
                outputs=[ct.TensorType(name=VECTOR, dtype=ct.converters.mil.mil.types.fp32)],
                skip_model_load=True,
            )
            _save(model, path)
        except OSError as error:
            raise TokenLedgerError(f"{path}: {error.strerror or error}; make room or choose another folder") from error
        except Exception as error:  # it raises whatever its parts raise, also where its temporary folder is full
            told = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            raise TokenLedgerError(f"{path}: cannot be built ({told}); verify weights and disk, then again") from error


@contextlib.contextmanager
def quiet_coremltools() -> Iterator[Any]:
    """Coremltools, imported without its remarks on this platform, its progress bars and its casts' warnings.

    Raises:
        LoadRefusedError: it is not installed.
    """
    logging.getLogger("coremltools").setLevel(logging.CRITICAL)  # what goes wrong is in its exception
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import coremltools
            from coremltools.converters.mil.mil.passes import pass_pipeline
        except ImportError as error:
            raise LoadRefusedError("platform", "coremltools: is not installed; run `make setup-inference`") from error
        bars, pass_pipeline.tqdm = pass_pipeline.tqdm, _no_bar
        try:
            yield coremltools
        finally:
            pass_pipeline.tqdm = bars


def _no_bar(items: Any, **_: object) -> Any:
    return items


def _program(weights: Mapping[str, npt.NDArray[np.float32]], spec: ModelSpec, tokens: int) -> Any:
    from coremltools.converters.mil import Builder as mb  # noqa: N813 - the name by which its manual knows it
    from coremltools.converters.mil.mil import types

    def normed(x: Any, name: str) -> Any:
        gamma, beta = weights[f"{name}.weight"], weights[f"{name}.bias"]
        return mb.layer_norm(x=x, axes=[-1], gamma=gamma, beta=beta, epsilon=_EPSILON)

    def dense(x: Any, name: str) -> Any:
        return mb.linear(x=x, weight=weights[f"{name}.weight"], bias=weights[f"{name}.bias"])

    def heads(x: Any) -> Any:
        split = mb.reshape(x=x, shape=[1, tokens, spec.heads, spec.dims // spec.heads])
        return mb.transpose(x=split, perm=[0, 2, 1, 3])

    def attended(x: Any, name: str, hidden: Any) -> Any:
        query, key, value = (heads(dense(x, f"{name}.self.{part}")) for part in ("query", "key", "value"))
        scaled = mb.mul(x=query, y=1 / math.sqrt(spec.dims // spec.heads))
        scores = mb.add(x=mb.matmul(x=scaled, y=key, transpose_y=True), y=hidden)
        mixed = mb.transpose(x=mb.matmul(x=mb.softmax(x=scores, axis=-1), y=value), perm=[0, 2, 1, 3])
        return dense(mb.reshape(x=mixed, shape=[1, tokens, spec.dims]), f"{name}.output.dense")

    @mb.program(input_specs=[mb.TensorSpec((1, tokens), types.int32) for _ in (IDS, MASK)], opset_version=_target())  # type: ignore[untyped-decorator]
    def program(input_ids: Any, attention_mask: Any) -> Any:
        names = "embeddings.{}_embeddings.weight".format
        places = weights[names("position")][:tokens] + weights[names("token_type")][0]
        words = mb.gather(x=weights[names("word")], indices=input_ids, axis=0)
        x = normed(mb.add(x=words, y=places[None]), "embeddings.LayerNorm")
        kept = mb.cast(x=attention_mask, dtype="fp32")
        hidden = _hidden(mb, kept, tokens)
        for layer in range(spec.layers):
            name = f"encoder.layer.{layer}"
            attention = mb.add(x=attended(x, f"{name}.attention", hidden), y=x)
            x = normed(attention, f"{name}.attention.output.LayerNorm")
            wide = mb.gelu(x=dense(x, f"{name}.intermediate.dense"), mode="EXACT")
            x = normed(mb.add(x=dense(wide, f"{name}.output.dense"), y=x), f"{name}.output.LayerNorm")
        mean = _mean(mb, x, kept)
        return mb.real_div(x=mean, y=mb.reduce_l2_norm(x=mean, axes=[1], keep_dims=True), name=VECTOR)

    return program


def _hidden(mb: Any, kept: Any, tokens: int) -> Any:
    """What is added to every score so that nobody attends to padding."""
    return mb.reshape(x=mb.mul(x=mb.sub(x=1.0, y=kept), y=_MASKED), shape=[1, 1, 1, tokens])


def _mean(mb: Any, x: Any, kept: Any) -> Any:
    """The mean over the tokens that are no padding."""
    total = mb.reduce_sum(x=mb.mul(x=x, y=mb.expand_dims(x=kept, axes=[2])), axes=[1])
    return mb.real_div(x=total, y=mb.reduce_sum(x=kept, axes=[1], keep_dims=True))


def _target() -> Any:
    import coremltools

    return coremltools.target.macOS13


def _save(model: Any, path: Path) -> None:
    """Saves beside `path` and moves into place: packages are folders, which no rename replaces at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as aside:
        made = Path(aside) / "new.mlpackage"
        model.save(str(made))
        # coremltools makes some of it readable for its owner alone
        for part in made.rglob("*"):
            part.chmod(0o755 if part.is_dir() else 0o644)
        if path.is_dir() and not path.is_symlink():
            os.rename(path, Path(aside) / "old.mlpackage")
        elif path.exists() or path.is_symlink():
            path.unlink()
        os.rename(made, path)
