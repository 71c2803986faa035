"""What a graph asks of a runtime, read from the file without its weights and without the `onnx` package.

Here: versions, operators and where weights are kept, out of the protocol buffer's own bytes; a 90 MB graph takes some
milliseconds. Not here: whether the installed runtime has what is asked for (`capability`).
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["GraphHeader", "NoGraphError", "read_header"]

# field numbers of onnx.proto
_MODEL_IR, _MODEL_GRAPH, _MODEL_OPSET, _MODEL_FUNCTION = 1, 7, 8, 25
_OPSET_DOMAIN, _OPSET_VERSION = 1, 2
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE = 1, 5, 15
_FUNCTION_NODE = 7
_NODE_OPERATOR, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE = (5, 10), (6, 11), (22, 23)
_SPARSE_TENSORS = (1, 2)
_TENSOR_LOCATION = 14
_DEEPEST = 32
"""Graphs within nodes of graphs; ONNX itself reads a few more, and no encoder has any."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class NoGraphError(ValueError):
    """The bytes are no ONNX model, or only the beginning of one."""


class GraphHeader(NamedTuple):
    """What a graph asks for."""

    ir_version: int
    opsets: dict[str, int]
    """Version by domain; the standard operators' domain is ""."""
    operators: frozenset[tuple[str, str]]
    """Domain and name of every operator: of the graph, of the graphs within its nodes, and of its own functions."""
    outside: bool
    """Whether weights are kept in another file, wherever they belong to: the hash of this one does not cover them."""


class _Field(NamedTuple):
    number: int
    value: int
    """Of a number; of bytes, where they begin."""
    end: int
    """Of bytes, where they end; of a number, 0."""


def read_header(path: Path) -> GraphHeader:
    """What the graph in the file asks for.

    Raises:
        NoGraphError: the file is empty, truncated, or something else.
        OSError: it cannot be read.
    """
    with path.open("rb") as handle:
        try:
            data = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as error:
            raise NoGraphError("the file is empty") from error
        with data:
            return _model(data)


def _model(data: mmap.mmap) -> GraphHeader:
    ir_version, opsets = 0, dict[str, int]()
    graphs, functions = list[_Field](), list[_Field]()
    for field in _fields(data, 0, len(data)):
        if field.number == _MODEL_IR and not field.end:
            ir_version = field.value
        elif field.number == _MODEL_OPSET and field.end:
            domain, version = _opset(data, field)
            opsets[domain] = version
        elif field.number in (_MODEL_GRAPH, _MODEL_FUNCTION) and field.end:
            (graphs if field.number == _MODEL_GRAPH else functions).append(field)
    if len(graphs) != 1 or not ir_version or not opsets:
        raise NoGraphError("it has no graph, or no version")
    found = _Found(set(), [])
    _graph(data, graphs[0], found, 0)
    if not found.operators:
        raise NoGraphError("its graph is empty")
    for function in functions:
        for field in _fields(data, function.value, function.end):
            if field.number == _FUNCTION_NODE and field.end:
                _node(data, field, found, 0)
    outside = any(
        one.number == _TENSOR_LOCATION and one.value
        for tensor in found.tensors
        for one in _fields(data, tensor.value, tensor.end)
    )
    return GraphHeader(ir_version, opsets, frozenset(found.operators), outside)


class _Found(NamedTuple):
    """What graphs hold, collected while they are walked."""

    operators: set[tuple[str, str]]
    tensors: list[_Field]


def _graph(data: mmap.mmap, graph: _Field, found: _Found, depth: int) -> None:
    if depth > _DEEPEST:
        raise NoGraphError("its graphs are nested too deeply")
    for field in _fields(data, graph.value, graph.end):
        if field.number == _GRAPH_NODE and field.end:
            _node(data, field, found, depth)
        elif field.number == _GRAPH_INITIALIZER and field.end:
            found.tensors.append(field)
        elif field.number == _GRAPH_SPARSE and field.end:
            found.tensors.extend(_parts(data, field, _SPARSE_TENSORS))


def _node(data: mmap.mmap, node: _Field, found: _Found, depth: int) -> None:
    domain, name = "", ""
    for part in _fields(data, node.value, node.end):
        if part.number == _NODE_OPERATOR:
            name = _text(data, part)
        elif part.number == _NODE_DOMAIN:
            domain = _text(data, part)
        elif part.number == _NODE_ATTRIBUTE and part.end:
            found.tensors.extend(_parts(data, part, _ATTRIBUTE_TENSORS))
            for sparse in _parts(data, part, _ATTRIBUTE_SPARSE):
                found.tensors.extend(_parts(data, sparse, _SPARSE_TENSORS))
            for inner in _parts(data, part, _ATTRIBUTE_GRAPHS):
                _graph(data, inner, found, depth + 1)
    found.operators.add((_standard(domain), name))


def _parts(data: mmap.mmap, message: _Field, numbers: tuple[int, ...]) -> list[_Field]:
    """The messages within a message that have one of some numbers."""
    return [one for one in _fields(data, message.value, message.end) if one.number in numbers and one.end]


def _opset(data: mmap.mmap, field: _Field) -> tuple[str, int]:
    domain, version = "", 0
    for part in _fields(data, field.value, field.end):
        if part.number == _OPSET_DOMAIN:
            domain = _text(data, part)
        elif part.number == _OPSET_VERSION and not part.end:
            version = part.value
    return _standard(domain), version


def _standard(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _text(data: mmap.mmap, field: _Field) -> str:
    return data[field.value : field.end].decode("utf-8", "replace") if field.end else ""


def _fields(data: mmap.mmap, start: int, end: int) -> Iterator[_Field]:
    """The fields of one message; what a message holds is skipped unread."""
    at = start
    while at < end:
        key, at = _varint(data, at, end)
        number, kind = key >> 3, key & 7
        if not number:
            raise NoGraphError("it is no protocol buffer")
        if kind == _VARINT:
            value, at = _varint(data, at, end)
            yield _Field(number, value, 0)
            continue
        if kind == _BYTES:
            length, at = _varint(data, at, end)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise NoGraphError("it is no protocol buffer")
        if length > end - at:
            raise NoGraphError("it ends in the middle")
        if kind == _BYTES:
            yield _Field(number, at, at + length)
        at += length


def _varint(data: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= end:
            raise NoGraphError("it ends in the middle")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise NoGraphError("it is no protocol buffer")
