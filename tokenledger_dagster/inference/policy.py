"""How embeddings are computed on this machine: `config/inference.yaml` as values.

Here: reading and checking the file, once per process. Not here: what obeys the figures (`model_cache`, `breaker`,
`chain`, `embedder`, `validation`, `loading`), and what a person switches (`settings`).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from tokenledger_dagster.inference.backend import BACKENDS, BackendName, Precision
from tokenledger_dagster.inference.rule_file import read_rules

__all__ = [
    "BackendSeconds",
    "BatchPolicy",
    "BreakerPolicy",
    "CachePolicy",
    "ComputeUnits",
    "CoreMlPolicy",
    "EstimatePolicy",
    "ParityLimit",
    "ParityPolicy",
    "Policy",
    "PromptPolicy",
    "SearchPolicy",
    "load_policy",
    "policy",
]

PATH = Path(__file__).resolve().parents[2] / "config" / "inference.yaml"

ComputeUnits = Literal["CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE", "ALL"]
_Count = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
_Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
_Share = Annotated[float, msgspec.Meta(gt=0, le=1)]


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A section of the file: no key may be missing or unknown."""


class ParityLimit(_Part, frozen=True, kw_only=True):
    """The most by which a backend may differ from the float64 vectors of the golden texts."""

    max_abs: Annotated[float, msgspec.Meta(ge=0, le=2)]
    """Of one component."""
    max_one_minus_cos: Annotated[float, msgspec.Meta(ge=0, le=2)]
    """1 - cosine of one text, computed in float64."""


class ParityPolicy(_Part, frozen=True, kw_only=True):
    """By the precision of the weights."""

    fp32: ParityLimit
    fp16: ParityLimit
    int8: ParityLimit

    def __getitem__(self, precision: Precision) -> ParityLimit:
        """The limit for one precision."""
        limit: ParityLimit = getattr(self, precision)
        return limit


class BackendSeconds(_Part, frozen=True, kw_only=True):
    """Seconds of one call, by backend."""

    coreml: _Seconds
    onnx: _Seconds
    numpy: _Seconds

    def __getitem__(self, backend: BackendName) -> float:
        """The seconds of one backend."""
        seconds: float = getattr(self, backend)
        return seconds


class AnswerPolicy(_Part, frozen=True, kw_only=True):
    """What an answer must look like."""

    norm_tolerance: _Share
    """By how much the length of a vector may differ from 1."""


class CachePolicy(_Part, frozen=True, kw_only=True):
    """How much loaded models may hold, and how long unused ones stay."""

    max_items: _Count
    max_bytes: _Count
    """Accounted (`EmbeddingBackend.size_bytes`)."""
    idle_ttl_s: _Seconds


class BreakerPolicy(_Part, frozen=True, kw_only=True):
    """Which calls a backend is judged by, and from when on it is passed over."""

    window_calls: _Count
    window_s: _Seconds
    min_samples: _Count
    """Fewer calls within the window say nothing."""
    min_success: _Share
    """A smaller share of calls answered opens the breaker."""
    max_timeouts_in_row: _Count
    """So many calls stopped one after the other open it, however few the samples."""
    cooldown_s: _Seconds
    """How long it stays open until one call is let through."""


class BatchPolicy(_Part, frozen=True, kw_only=True):
    """How many texts are computed, and held, at a time."""

    max_tokens: _Count
    """Of one batch, padding counted."""
    max_rows: _Count
    window_texts: _Count
    """Texts that are held as tokens at a time."""
    max_characters: _Count
    """Of one text; the rest never reaches the tokenizer."""


class SearchPolicy(_Part, frozen=True, kw_only=True):
    """How sessions are embedded, and which of them a search shows."""

    max_parts: Annotated[int, msgspec.Meta(ge=1, le=64)]
    """Of one session."""
    batch_sessions: _Count
    """Sessions embedded and committed together."""
    merge_files: Annotated[int, msgspec.Meta(ge=2, le=10_000)]
    """Files of vectors above which they are merged."""
    limit: _Count
    min_score: Annotated[float, msgspec.Meta(ge=-1, le=1)]


class CoreMlPolicy(_Part, frozen=True, kw_only=True):
    """What is asked of Core ML."""

    compute_units: ComputeUnits
    load_timeout_s: _Seconds


class PromptPolicy(_Part, frozen=True, kw_only=True):
    """How much is read of what a person typed."""

    max_characters: _Count
    """Of one prompt."""
    max_prompts: _Count
    """Of one session, the first ones."""
    max_line_bytes: _Count
    max_document_bytes: _Count
    max_held_bytes: _Count
    """Texts that are held at a time."""


class EstimatePolicy(_Part, frozen=True, kw_only=True):
    """When token estimates are fitted on a person's own counted answers, and how many of these are read for it."""

    min_check_samples: _Count
    """Of one maker's models: from so many on the error on them counts, not the shipped one."""
    min_fit_samples: _Count
    """From so many on weights are fitted on them."""
    folds: Annotated[int, msgspec.Meta(ge=2, le=100)]
    max_samples: _Count
    """Of one maker, and of one client."""
    max_fit_bytes: _Count
    """Of one client's logs, read for samples alone."""


class Policy(_Part, frozen=True, kw_only=True):
    """The whole file."""

    schema_version: Literal[1]
    parity: ParityPolicy
    answers: AnswerPolicy
    cache: CachePolicy
    breaker: BreakerPolicy
    timeouts: BackendSeconds
    """After how many seconds a call is stopped."""
    sla: BackendSeconds
    """Seconds that the 99th percentile of calls may take."""
    threads: Annotated[int, msgspec.Meta(ge=1, le=256)]
    """Of one call on the processor."""
    batches: BatchPolicy
    search: SearchPolicy
    coreml: CoreMlPolicy
    prompts: PromptPolicy
    estimates: EstimatePolicy

    def __post_init__(self) -> None:
        """Refuse what no type says."""
        for name in BACKENDS:
            if self.timeouts[name] < self.sla[name]:
                raise ValueError(f"timeouts: {name}: is below sla: {name}, so that no answer could miss the SLA")
        if self.breaker.min_samples > self.breaker.window_calls:
            raise ValueError("breaker: min_samples is above window_calls, so that it could never open")


@cache
def policy() -> Policy:
    """The committed policy, read once.  Raises TokenLedgerError: see `load_policy`."""
    return load_policy()


def load_policy(path: Path = PATH) -> Policy:
    """The policy of a file.

    Raises:
        TokenLedgerError: it is missing, or says what cannot be meant.
    """
    return read_rules(path, Policy)
