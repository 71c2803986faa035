"""Texts to vectors: order, batches, bounds; and the same through a real model, with whatever stands in the texts."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.inference.fakes import MANIFEST, SHA256, SPEC, unit_vectors
from tokenledger_dagster.home import Home
from tokenledger_dagster.inference.backend import BackendError, Served
from tokenledger_dagster.inference.chain import Answer
from tokenledger_dagster.inference.embedder import Embedder, Embeddings, open_embedder
from tokenledger_dagster.inference.model_folder import ModelFolder
from tokenledger_dagster.inference.policy import BatchPolicy
from tokenledger_dagster.inference.switch import MODEL_SLUG, InferenceOffError
from tokenledger_dagster.observability import names
from tokenledger_dagster.observability.metrics import RecordingMetrics
from tokenledger_dagster.settings import load_settings

SERVED = Served("onnx", "onnx", "", "fp32", "unit", SHA256)


class Counting:
    """An encoder: as many tokens as characters between two special ones, the first of them tells the text apart."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        """Characters of each text."""

    def encode_cut(self, text: str) -> tuple[list[int], bool]:
        self.seen.append(len(text))
        first = int(text.split(":")[0]) if text else 1
        ids = [first, *[5] * len(text), 3]
        return ids[: SPEC.max_tokens], len(ids) > SPEC.max_tokens


@dataclass
class Recording:
    """A chain that answers and keeps the shapes it was asked for."""

    shapes: list[tuple[int, int]] = field(default_factory=list)
    lengths: list[list[int]] = field(default_factory=list)
    fails_at: int = -1

    def embed(self, ids: Any, mask: Any) -> Answer:
        if len(self.shapes) == self.fails_at:
            raise BackendError("no backend answered: planted")
        self.shapes.append(ids.shape)
        self.lengths.append(mask.sum(axis=1).tolist())
        assert ((ids != 0) == (mask == 1)).all()
        return Answer(unit_vectors(ids), SERVED._replace(reason=f"batch {len(self.shapes)}"))


def embedder_of(chain: Any, **batches: int) -> Embedder:
    figures = {"max_tokens": 40, "max_rows": 4, "window_texts": 10, "max_characters": 100, **batches}
    return Embedder(Counting(), chain, MANIFEST, BatchPolicy(**figures), requested="onnx")


def text(number: int, length: int) -> str:
    """A text of so many characters that begins with its number, which comes back as its vector."""
    return f"{number}:".ljust(length, "x")


def firsts(found: Embeddings) -> list[int]:
    return [round(float(one) * SPEC.vocab_size) for one in found.vectors[:, 0]]


def test_vectors_come_back_in_the_order_of_the_texts() -> None:
    chain = Recording()
    lengths = [3, 12, 5, 9, 3]

    found = embedder_of(chain).embed([text(10 + place, length) for place, length in enumerate(lengths)])

    assert firsts(found) == [10, 11, 12, 13, 14]
    assert found.token_counts == [5, 14, 7, 11, 5]
    assert found.truncated == [False] * 5
    # the longest first: 14 tokens leave room for two rows of 40
    assert chain.lengths == [[14, 11], [7, 5, 5]]
    assert [one.reason for one in found.served] == ["batch 2", "batch 1", "batch 2", "batch 1", "batch 2"]
    assert found.vectors.dtype == np.float32


def test_a_text_beyond_the_model_is_cut_and_told() -> None:
    found = embedder_of(Recording()).embed([text(7, 14), text(8, 15), ""])

    assert found.token_counts == [16, 16, 2]
    assert found.truncated == [False, True, False]


def test_a_huge_text_never_reaches_the_tokenizer() -> None:
    encoder = Counting()
    embedder = Embedder(
        encoder,
        Recording(),  # type: ignore[arg-type]
        MANIFEST,
        BatchPolicy(max_tokens=40, max_rows=4, window_texts=10, max_characters=10),
        requested="onnx",
    )

    found = embedder.embed(["5:" + "y" * 1_000_000, "6:yyyyyyyy"])

    assert encoder.seen == [10, 10]
    assert found.truncated == [True, False]


def test_one_text_alone_may_be_longer_than_a_batch() -> None:
    chain = Recording()

    embedder_of(chain, max_tokens=1).embed([text(7, 5), text(8, 5)])

    assert chain.shapes == [(1, 7), (1, 7)]


def test_no_texts_are_no_work() -> None:
    chain, told = Recording(), []

    found = embedder_of(chain).embed([], progress=lambda done, count: told.append((done, count)))

    assert found.vectors.shape == (0, 4)
    assert (found.token_counts, found.truncated, found.served) == ([], [], [])
    assert (chain.shapes, told) == ([], [])


def test_progress_tells_after_each_batch_how_many_are_done() -> None:
    told: list[tuple[int, int]] = []

    embedder_of(Recording()).embed([text(1, 3)] * 13, progress=lambda done, count: told.append((done, count)))

    assert told == [(4, 13), (8, 13), (10, 13), (13, 13)]


def test_where_no_backend_answers_the_error_goes_on() -> None:
    with pytest.raises(BackendError, match="no backend answered: planted"):
        embedder_of(Recording(fails_at=1)).embed([text(1, 3)] * 13)


def test_closing_gives_back_once_the_block_ends() -> None:
    closed: list[int] = []
    embedder = Embedder(
        Counting(),
        Recording(),  # type: ignore[arg-type]
        MANIFEST,
        BatchPolicy(max_tokens=1, max_rows=1, window_texts=1, max_characters=1),
        requested="onnx",
        close=lambda: closed.append(1),
    )
    with embedder as opened:
        assert (opened.dims, opened.max_tokens, opened.model) == (4, 16, "toy/model")
        assert (opened.model_sha256, opened.requested) == (SHA256, "onnx")
    assert closed == [1]


@given(st.lists(st.integers(3, 30), max_size=60), st.integers(1, 5), st.integers(1, 60), st.integers(1, 20))
def test_any_texts_in_any_batches_come_back_in_order_and_within_bounds(
    lengths: list[int], rows: int, tokens: int, window: int
) -> None:
    chain = Recording()
    numbers = [number % 90 + 5 for number in range(len(lengths))]
    texts = [text(number, length) for number, length in zip(numbers, lengths, strict=True)]

    found = embedder_of(chain, max_rows=rows, max_tokens=tokens, window_texts=window).embed(texts)

    assert firsts(found) == numbers
    assert found.token_counts == [min(length + 2, 16) for length in lengths]
    assert found.truncated == [length > 14 for length in lengths]
    assert all(height <= rows and (height == 1 or height * width <= tokens) for height, width in chain.shapes)
    assert sum(height for height, _ in chain.shapes) == len(texts)
    # no row of padding alone, and never wider than its longest text
    assert all(max(batch) == width for batch, (_, width) in zip(chain.lengths, chain.shapes, strict=True))


class Texts(Sequence[str]):
    """Ten thousand long texts that exist only while they are looked at."""

    def __len__(self) -> int:
        return 10_000

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        return f"{place % 90 + 5}:".ljust(4_000, "x")


def test_memory_does_not_grow_with_the_number_of_long_texts() -> None:
    """Ten thousand texts are 40 MB of characters; held are a window of them, its tokens, and all vectors."""
    embedder = embedder_of(Recording(), window_texts=256, max_characters=4_000, max_rows=8)
    tracemalloc.start()
    try:
        found = embedder.embed(Texts())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert firsts(found) == [number % 90 + 5 for number in range(10_000)]
    assert all(found.truncated)
    assert peak < 8_000_000


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with the toy model, built once; tests only read it."""
    for package in ("onnx", "onnxruntime", "safetensors", "tokenizers"):
        pytest.importorskip(package, reason="the extra `inference` is not installed")
    from tests.inference.toy import toy_model

    home = Home(tmp_path_factory.mktemp("ledger"))
    toy_model(home.models / MODEL_SLUG)
    return home


HOSTILE = [
    "",
    " \t\r\n",
    "fix the flaky test in the parser",
    "nul \0 inside \0",
    "half \ud83d a pair \udc00",
    "\ufffe\uffff\U0010ffff",
    "[CLS] [SEP] [MASK] <|endoftext|>",
    "cache " * 100_000,
    "x" * 300_000,
    " " * 300_000 + "beyond the blanks",
    "\u0301" * 10_000,
    "用户登录页面的缓存",
    "ﷺ" * 1_000,
]


@pytest.mark.parametrize("backend", ["onnx", "numpy"])
def test_hostile_texts_have_vectors_of_length_one(built: Home, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if backend == "numpy":
        refuse_onnx(monkeypatch)
    with open_embedder(built, load_settings({})) as embedder:
        found = embedder.embed(HOSTILE)

    assert found.vectors.shape == (len(HOSTILE), 32)
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-5)
    assert found.token_counts == [2, 2, 9, 10, 11, 3, 31, 32, 3, 2, 2, 11, 3]
    # more tokens than the model reads, and twice more characters than the tokenizer is given
    assert [place for place, cut in enumerate(found.truncated) if cut] == [7, 8, 9]
    assert {one.actual for one in found.served} == {backend}


def refuse_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime is not loaded, as if it were not installed."""
    from tokenledger_dagster.inference import loading
    from tokenledger_dagster.inference.backend import LoadRefusedError

    real = loading.load_backend

    def load(name: Any, *args: Any, **options: Any) -> Any:
        if name == "onnx":
            raise LoadRefusedError("platform", "onnxruntime: is not installed; run `make setup-inference`")
        return real(name, *args, **options)

    monkeypatch.setattr(loading, "load_backend", load)


def test_order_and_company_of_a_text_do_not_matter_to_its_vector(built: Home) -> None:
    texts = [one for one in HOSTILE if len(one) < 1_000] + ["explain why this query is slow " * 3, "update the docs"]
    shuffled = texts[:]
    random.Random(1).shuffle(shuffled)
    with open_embedder(built, load_settings({})) as embedder:
        alone = {one: embedder.embed([one]).vectors[0] for one in texts}
        together = dict(zip(shuffled, embedder.embed(shuffled).vectors, strict=True))

    for one in texts:
        np.testing.assert_allclose(together[one], alone[one], atol=1e-6)


def test_the_real_thing_is_measured_and_the_two_backends_agree(built: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = RecordingMetrics()
    with open_embedder(built, load_settings({}), metrics=metrics) as embedder:
        onnx = embedder.embed(HOSTILE[2:6])
    refuse_onnx(monkeypatch)
    with open_embedder(built, load_settings({}), metrics=metrics) as embedder:
        numpy = embedder.embed(HOSTILE[2:6])

    np.testing.assert_allclose(onnx.vectors, numpy.vectors, atol=1e-5)
    assert onnx.served[0].reason == ""
    assert numpy.served[0].reason == "onnx: platform: onnxruntime: is not installed; run `make setup-inference`"
    assert (numpy.served[0].requested, numpy.served[0].actual) == ("onnx", "numpy")
    assert metrics.value(names.INFERENCE_CACHE, outcome="miss") == 3
    assert metrics.value(names.INFERENCE_EVICTIONS, reason="closed") == 2
    assert metrics.value(names.INFERENCE_CACHE_BYTES) == 0
    assert metrics.value(names.INFERENCE_DEMOTIONS, backend="onnx", reason="platform") == 1
    assert metrics.value(names.INFERENCE_CALLS, requested="onnx", backend="numpy", outcome="ok") == 1
    assert len(metrics.observations(names.INFERENCE_LOAD_DURATION, backend="onnx")) == 1
    assert len(metrics.observations(names.TOKENIZER_ENCODE_DURATION, tokenizer="hugging_face")) == 8


def test_weights_that_changed_since_the_build_are_not_used(built: Home, tmp_path: Path) -> None:
    from tests.inference.toy import toy_model

    home = Home(tmp_path)
    folder = toy_model(home.models / MODEL_SLUG)
    folder.onnx.write_bytes(folder.onnx.read_bytes()[:-1] + b"\1")
    with open_embedder(home, load_settings({})) as embedder:
        served = embedder.embed(["fix the test"]).served[0]
        assert served.actual == "numpy"
        assert served.reason.startswith(f"onnx: sha256: {folder.onnx}: ")

    folder.weights.unlink()
    with open_embedder(home, load_settings({})) as embedder, pytest.raises(BackendError) as found:
        embedder.embed(["fix the test"])
    told = str(found.value)
    assert told.startswith(f"no backend answered: onnx: sha256: {folder.onnx}: ")
    assert f"; numpy: files: {folder.weights}: " in told
    assert "\n" not in told


def test_where_inference_is_off_the_error_says_how_it_is_turned_on(built: Home, tmp_path: Path) -> None:
    with pytest.raises(InferenceOffError, match="TOKENLEDGER_FEATURE_INFERENCE=auto"):
        open_embedder(built, load_settings({"TOKENLEDGER_FEATURE_INFERENCE": "false"}))
    with pytest.raises(InferenceOffError, match="tokenledger models build"):
        open_embedder(Home(tmp_path), load_settings({}))


def test_a_manifest_that_is_none_is_told(tmp_path: Path) -> None:
    pytest.importorskip("safetensors", reason="the extra `inference` is not installed")
    folder = ModelFolder(Home(tmp_path).models / MODEL_SLUG)
    folder.root.mkdir(parents=True)
    folder.manifest.write_bytes(msgspec.json.encode({"schema_version": 1}))

    with pytest.raises(Exception, match=r"manifest\.json: "):
        open_embedder(Home(tmp_path), load_settings({}))
