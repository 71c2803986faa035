from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tokenledger_dagster.bench.corpus import Corpus, Shape, Spec

Written = Callable[..., Corpus]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Writes a small corpus below the test's folder."""

    def write(size: int = 400_000, seed: int = 1, shape: Shape = "default", name: str = "logs") -> Corpus:
        corpus = Corpus(tmp_path / name, Spec(size, seed, shape))
        corpus.write()
        return corpus

    return write
