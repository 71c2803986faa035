"""Whether the installed ONNX Runtime can run a graph, said before the graph is loaded.

Here: the graph's versions, domains and operators against what this runtime accepts. The versions are found out by
asking it to load a graph of one node, since no function tells them. Not here: reading the graph (`onnx_header`) and
what is done with a refusal (`loading`, `chain`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenledger_dagster.inference.backend import LoadRefusedError
from tokenledger_dagster.inference.onnx_backend import CPU, FATAL, quiet_runtime
from tokenledger_dagster.inference.onnx_header import GraphHeader, NoGraphError, read_header
from tokenledger_dagster.printable import printable

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["check_capability", "unmet"]

_REBUILD = "build it again with `tokenledger models build`"
_OLDEST_IR = 3
"""The first with opset imports: what the opset is asked with is accepted by every runtime."""
_HIGHEST = 2**31 - 1
_NEWEST = 100
"""No version is that high in years; where the search for the newest begins."""


def check_capability(path: Path) -> None:
    """Let a graph pass that this runtime can be expected to run.

    Raises:
        LoadRefusedError: stage "capability"; the file is no graph, or asks for what the runtime does not have.
    """
    try:
        header = read_header(path)
    except NoGraphError as error:
        raise LoadRefusedError("capability", f"{path}: is no ONNX model ({error}); {_REBUILD}") from error
    except OSError as error:
        raise LoadRefusedError("capability", f"{path}: cannot be read ({error.strerror}); {_REBUILD}") from error
    reason = unmet(header)
    if reason:
        raise LoadRefusedError("capability", f"{path}: {reason}; {_REBUILD}")


def unmet(header: GraphHeader) -> str:
    """The first thing that the graph asks for and the installed runtime does not have; "" where there is none."""
    runtime = f"ONNX Runtime {printable(str(quiet_runtime().__version__))}"
    if header.outside:
        return "keeps weights in another file, which its SHA-256 does not cover"
    opset = header.opsets.get("", 0)
    # the empty domain first: an operator of a later opset is refused by its version, which says more than its name
    if not 1 <= opset <= _HIGHEST or not _accepts(_OLDEST_IR, opset):
        return f"asks for opset {opset}, and {runtime} knows 1 to {_highest_opset(opset or _NEWEST)}"
    if not _accepts(header.ir_version, opset):
        return f"has IR version {header.ir_version}, and {runtime} knows none above {_highest_ir(header.ir_version)}"
    known = _operators()
    for domain, name in sorted(header.operators):
        label = printable(f"{domain}.{name}" if domain else name)[:80]
        if domain and domain not in {one for one, _ in known}:
            return f"uses {label} of a domain that {runtime} does not have"
        if known and (domain, name) not in known:
            return f"uses the operator {label}, which {runtime} does not have"
        if known and not domain and known[domain, name] > opset:
            return f"uses the operator {label} of opset {known[domain, name]} and asks for opset {opset}"
    return ""


def _operators() -> dict[tuple[str, str], int]:
    """First version by domain and name; empty where a runtime was built without the list, and the session decides."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    first: dict[tuple[str, str], int] = {}
    for schema in getattr(state, "get_all_operator_schema", list)():
        key = (str(schema.domain), str(schema.name))
        first[key] = min(first.get(key, _HIGHEST), int(schema.since_version))
    return first


def _highest_opset(refused: int) -> int:
    return next((opset for opset in range(min(refused, _NEWEST), 0, -1) if _accepts(_OLDEST_IR, opset)), 0)


def _highest_ir(refused: int) -> int:
    return next((ir for ir in range(min(refused, _NEWEST), 0, -1) if _accepts(ir, 1)), 0)


def _accepts(ir_version: int, opset: int) -> bool:
    """Whether the runtime loads a graph of these versions that hands its input through."""
    runtime = quiet_runtime()
    options = runtime.SessionOptions()
    options.log_severity_level = FATAL
    options.intra_op_num_threads = 1
    try:
        runtime.InferenceSession(_identity(ir_version, opset), options, providers=[CPU])
    except Exception:  # its classes have no common base of their own, and the answer is in that it refused
        return False
    return True


def _identity(ir_version: int, opset: int) -> bytes:
    """The smallest model: one Identity of one number."""
    tensor = _message(2, _message(1, _number(1, 1) + _message(2, b"")))
    node = _message(1, b"x") + _message(2, b"y") + _message(4, b"Identity")
    ends = _message(11, _message(1, b"x") + tensor) + _message(12, _message(1, b"y") + tensor)
    graph = _message(1, node) + _message(2, b"probe") + ends
    return _number(1, ir_version) + _message(7, graph) + _message(8, _number(2, opset))


def _message(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
