"""A model small enough for every test: a random two-layer encoder with a real tokenizer, graph and manifest.

Here: ``toy_model`` writes the folder, ``reseal`` makes its manifest agree with what a test changed since, ``reopened``
reads the manifest.  Not here: any expectation.

The folder holds what a built model holds (``model.safetensors``, ``config.json``, ``tokenizer.json``, ``model.onnx``,
``manifest.json``) except ``model.mlpackage``.  The same seed and shape give the same vectors; about 230 kB.  Words of
``WORDS`` are one token each, other words are spelt in letters; nothing of printable ASCII is unknown.
"""

from __future__ import annotations

import hashlib
import json
import string
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from tokenledger_dagster.fileio import write_json_atomic
from tokenledger_dagster.inference.encoder import as_float64, reference_vector
from tokenledger_dagster.inference.model_folder import SCHEMA_VERSION, GoldenText, Manifest, ModelFolder
from tokenledger_dagster.inference.onnx_graph import IR_VERSION, OPSET, build_onnx
from tokenledger_dagster.inference.weights import expected_shapes, read_spec, read_weights

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""Ids 0 to 4."""
PAD, UNK, CLS, SEP, MASK = range(5)
_WORDS = """
the a of in to and is it that for on with as this be are or an at by from not we add fix test tests flaky parser failing
bug error crash trace why does how what when where explain refactor rename move split file files function class module
write docs readme comment update build docker deploy pipeline ci job cache slow fast memory leak database query table
index price cost token tokens session model log logs user login page button style color python rust go sql json yaml
import export report check release version
"""
WORDS = tuple(_WORDS.split())
GOLDEN_TEXTS = (
    "",
    "fix the flaky test in the parser",
    "Explain why this query is slow",
    "def add(a, b): return a + b",
    "déjà vu \u2013 naïve café",
    "the cache " * 20,
)
"""The empty one, words, letters, signs, accents and a sign that is unknown, one that is cut at ``max_tokens``."""


def toy_model(
    folder: Path,
    *,
    seed: int = 7,
    layers: int = 2,
    heads: int = 4,
    dims: int = 32,
    intermediate: int = 64,
    max_tokens: int = 32,
    max_positions: int = 64,
    onnx: bool = True,
) -> ModelFolder:
    """A complete model folder at `folder`, which is made; `dims=384` where a table asks for the real length."""
    paths = ModelFolder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = _vocabulary()
    _write_tokenizer(paths.tokenizer, vocabulary)
    config = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_act": "gelu",
        "hidden_size": dims,
        "intermediate_size": intermediate,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": max_positions,
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "position_embedding_type": "absolute",
        "type_vocab_size": 2,
        "vocab_size": len(vocabulary),
    }
    paths.config.write_text(json.dumps(config), encoding="utf-8")
    spec = read_spec(paths.config, max_tokens)
    save_weights(paths, toy_weights(paths, seed=seed))
    if onnx:
        build_onnx(read_weights(paths.weights, spec), spec, paths.onnx)
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        model="toy/two-layer-encoder",
        license="MIT",
        attribution="random numbers",
        source=f"seed {seed}",
        spec=spec,
        opset=OPSET,
        ir_version=IR_VERSION,
        coreml_tokens=None,
        files={},
        golden=[],
        built_with={},
        created_at="2026-01-01T00:00:00Z",
    )
    save_manifest(paths, manifest)
    reseal(paths, golden=True)
    return paths


def reopened(paths: ModelFolder) -> Manifest:
    """The manifest as it is on the disk."""
    return msgspec.json.decode(paths.manifest.read_bytes(), type=Manifest)


def save_manifest(paths: ModelFolder, manifest: Manifest) -> None:
    write_json_atomic(paths.manifest, manifest)


def reseal(paths: ModelFolder, *, golden: bool = False, **changes: Any) -> Manifest:
    """The manifest with the hashes of the files as they are now, and `changes` made to it.

    With `golden`, the golden vectors too are those of the present weights; without, they stay what they were.
    """
    manifest = reopened(paths)
    files = {
        one.name: sha256(one) for one in (paths.weights, paths.config, paths.tokenizer, paths.onnx) if one.is_file()
    }
    if paths.mlpackage.is_dir():
        files |= {str(one.relative_to(paths.root)): sha256(one) for one in paths.mlpackage.rglob("weight.bin")}
    if golden:
        weights, spec = as_float64(read_weights(paths.weights, manifest.spec)), manifest.spec
        encoded = [(text, toy_ids(paths, text, spec.max_tokens)) for text in GOLDEN_TEXTS]
        changes["golden"] = [
            GoldenText(text=text, ids=ids, vector=reference_vector(weights, spec, ids)) for text, ids in encoded
        ]
    manifest = msgspec.structs.replace(manifest, files=files, **changes)
    save_manifest(paths, manifest)
    return manifest


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def toy_ids(paths: ModelFolder, text: str, max_tokens: int = 32) -> list[int]:
    """The text's tokens, [CLS] and [SEP] among them, cut at `max_tokens`."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(paths.tokenizer))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    ids: list[int] = tokenizer.encode(text).ids
    return ids


def padded(rows: list[list[int]]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Token lists as one batch: ids padded with 0, and the mask."""
    width = max(map(len, rows))
    ids = np.array([row + [PAD] * (width - len(row)) for row in rows], dtype=np.int64)
    mask = np.array([[1] * len(row) + [0] * (width - len(row)) for row in rows], dtype=np.int64)
    return ids, mask


def toy_weights(paths: ModelFolder, *, seed: int = 7) -> dict[str, npt.NDArray[np.float32]]:
    """Random weights of the shape of `config.json`, such that every part of the encoder moves the result."""
    random = np.random.default_rng(seed)
    spec = read_spec(paths.config, 3)
    weights: dict[str, npt.NDArray[np.float32]] = {}
    for name, shape in expected_shapes(spec).items():
        lengths = tuple(2 if one is None else one for one in shape)
        values = random.standard_normal(lengths)
        if name.endswith("LayerNorm.weight"):
            values = 1 + 0.1 * values
        elif name.endswith("bias"):
            values *= 0.1
        elif "word_embeddings" not in name:
            values *= 0.1 if "embeddings" in name else 1.5 / np.sqrt(lengths[-1])
        weights[name] = values.astype(np.float32)
    return weights


def save_weights(paths: ModelFolder, weights: dict[str, npt.NDArray[Any]]) -> None:
    """`model.safetensors`, with the two tensors beside the encoder's that real checkpoints carry."""
    from safetensors.numpy import save_file

    positions = len(weights["embeddings.position_embeddings.weight"])
    beside = {
        "embeddings.position_ids": np.arange(positions, dtype=np.int64)[None],
        "pooler.dense.bias": np.zeros(4, dtype=np.float32),
    }
    save_file({**beside, **weights}, paths.weights)


def _vocabulary() -> dict[str, int]:
    signs = [chr(code) for code in range(33, 127) if not chr(code).isalnum()]
    letters = string.ascii_lowercase + string.digits
    pieces = [*letters, *(f"##{one}" for one in letters)]
    words = [word for word in WORDS if len(word) > 1]
    return {token: number for number, token in enumerate([*SPECIAL, *signs, *pieces, *words])}


def _write_tokenizer(path: Path, vocabulary: dict[str, int]) -> None:
    """Uncased WordPiece that pads to a fixed length, as the real model's file does: who loads it must say no."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)],
    )
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens([AddedToken(one, special=True, normalized=False) for one in SPECIAL])
    tokenizer.enable_truncation(16)
    tokenizer.enable_padding(length=16, pad_id=PAD, pad_token="[PAD]")
    tokenizer.save(str(path))
