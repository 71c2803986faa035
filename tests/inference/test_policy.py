"""The figures of inference as they are shipped, and what is refused of others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.inference.backend import BACKENDS
from tokenledger_dagster.inference.policy import PATH, BreakerPolicy, ParityLimit, ParityPolicy, load_policy, policy

PAGE = Path(__file__).parents[2] / "docs" / "inference.md"
_TEXT = PATH.read_text("utf-8")


def test_shipped_figures() -> None:
    shipped = policy()

    assert shipped.parity == ParityPolicy(
        fp32=ParityLimit(max_abs=1e-5, max_one_minus_cos=1e-6),
        fp16=ParityLimit(max_abs=5e-3, max_one_minus_cos=1e-4),
        int8=ParityLimit(max_abs=6e-2, max_one_minus_cos=3e-2),
    )
    assert shipped.parity["fp16"] is shipped.parity.fp16
    assert shipped.breaker == BreakerPolicy(
        window_calls=100, window_s=600, min_samples=20, min_success=0.95, max_timeouts_in_row=3, cooldown_s=60
    )
    assert (shipped.cache.max_items, shipped.cache.max_bytes, shipped.cache.idle_ttl_s) == (3, 2**29, 300)
    assert (shipped.batches.max_tokens, shipped.batches.max_rows) == (4096, 8)
    assert shipped.coreml.compute_units == "CPU_AND_NE"
    assert policy() is shipped


@pytest.mark.parametrize(
    ("find", "put", "told"),
    [
        ("schema_version: 1", "schema_version: 2", "schema_version"),
        ("  fp16: {", "  fp15: {", "parity"),
        ("max_abs: 1.0e-5, ", "", "missing required field `max_abs` - at `$.parity.fp32`"),
        ("max_abs: 1.0e-5", "max_abs: .nan", "$.parity.fp32.max_abs"),
        ("max_abs: 1.0e-5", "max_abs: 1e-5", "$.parity.fp32.max_abs"),
        ("max_items: 3", "max_items: 0", "cache.max_items"),
        ("max_items: 3", "max_item: 3", "cache"),
        ("min_success: 0.95", "min_success: 95", "breaker.min_success"),
        ("min_samples: 20", "min_samples: 200", "breaker: min_samples is above window_calls"),
        (
            "timeouts: {coreml: 5, onnx: 30, ",
            "timeouts: {coreml: 5, ",
            "missing required field `onnx` - at `$.timeouts`",
        ),
        ("timeouts: {coreml: 5, onnx: 30,", "timeouts: {coreml: 5, onnx: 3,", "timeouts: onnx: is below sla: onnx"),
        ("sla: {coreml: 1,", "sla: {coreml: .inf,", "$.sla.coreml"),
        ("sla: {coreml: 1,", "sla: {coreml: .nan,", "$.sla.coreml"),
        ("compute_units: CPU_AND_NE", "compute_units: CPU_AND_TPU", "coreml.compute_units"),
        ("threads: 1", "threads: [", "while parsing"),
        ("threads: 1", "threads: \0", "unacceptable character"),
    ],
)
def test_figures_that_cannot_be_meant_are_refused_in_one_line(tmp_path: Path, find: str, put: str, told: str) -> None:
    path = tmp_path / "inference.yaml"
    assert find in _TEXT
    path.write_text(_TEXT.replace(find, put, 1), encoding="utf-8")

    with pytest.raises(TokenLedgerError) as found:
        load_policy(path)
    assert told in str(found.value)
    assert str(found.value).startswith(f"{path}: ")
    assert str(found.value).endswith("; mend the file")
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe\x00", b"a: &a [*a]", b"[" * 5_000])
def test_what_is_no_policy_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "inference.yaml"
    path.write_bytes(content)

    with pytest.raises(TokenLedgerError, match="mend the file"):
        load_policy(path)


def test_missing_policy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenLedgerError, match="install TokenLedger again"):
        load_policy(tmp_path / "none.yaml")


def test_the_page_says_the_figures_that_hold() -> None:
    page, shipped = " ".join(PAGE.read_text("utf-8").split()), policy()
    breaker, batches = shipped.breaker, shipped.batches
    said = [
        *(f"| `{name}` | {shipped.timeouts[name]:g} s |" for name in BACKENDS),
        *(f"| {shipped.sla[name]:g} s |" for name in BACKENDS),
        f"cut at {batches.max_characters:,} characters",
        f"at most {batches.max_rows} texts and {batches.max_tokens:,} tokens",
        f"over its last {breaker.window_calls} calls",
        f"less than {breaker.min_success:.0%} of at least {breaker.min_samples} calls".replace("%", " %"),
        f"{breaker.max_timeouts_in_row} calls in a row were stopped",
        f"After {breaker.cooldown_s:g} s one call is let through",
        f"of at most {shipped.cache.max_bytes >> 20} MiB",
    ]
    assert [words for words in said if words not in page] == []
    assert (breaker.window_s, shipped.cache.idle_ttl_s, shipped.cache.max_items) == (600, 300, 3)  # in words there


def test_modules_of_safety_import_neither_numpy_nor_yaml() -> None:
    modules = ("policy", "validation", "model_cache", "breaker", "chain", "embedder")
    code = "; ".join(
        [
            "import sys",
            *(f"import tokenledger_dagster.inference.{name}" for name in modules),
            "print(sorted({'numpy', 'yaml', 'onnxruntime', 'tokenizers'} & set(sys.modules)))",
        ]
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
