"""The graph: its versions, names and bytes; what is read of it without the `onnx` package; what a runtime lacks."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.inference.toy import reopened, toy_model
from tokenledger_dagster.inference.backend import LoadRefusedError
from tokenledger_dagster.inference.capability import check_capability, unmet
from tokenledger_dagster.inference.model_folder import ModelFolder
from tokenledger_dagster.inference.onnx_graph import build_onnx
from tokenledger_dagster.inference.onnx_header import GraphHeader, NoGraphError, read_header
from tokenledger_dagster.inference.weights import read_weights

for package in ("onnx", "onnxruntime", "safetensors", "tokenizers"):
    pytest.importorskip(package, reason="the extra `inference` is not installed")

OPERATORS = {
    *("Add", "Cast", "Div", "Gather", "Gelu", "LayerNormalization", "MatMul", "Max", "Mul", "ReduceL2", "ReduceSum"),
    *("Reshape", "Shape", "Slice", "Softmax", "Sub", "Transpose", "Unsqueeze"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return toy_model(tmp_path_factory.mktemp("graph"))


@pytest.fixture(scope="module")
def header(folder: ModelFolder) -> GraphHeader:
    return read_header(folder.onnx)


def test_graph_is_valid_and_its_versions_are_set(folder: ModelFolder) -> None:
    import onnx

    model = onnx.load(folder.onnx)

    onnx.checker.check_model(model, full_check=True)
    assert [(one.domain, one.version) for one in model.opset_import] == [("", 20)]
    assert model.ir_version == 10


def test_names_types_and_shapes(folder: ModelFolder) -> None:
    import onnxruntime

    session: Any = onnxruntime.InferenceSession(str(folder.onnx), providers=["CPUExecutionProvider"])

    assert [(one.name, one.type, one.shape) for one in session.get_inputs()] == [
        ("input_ids", "tensor(int64)", ["batch", "tokens"]),
        ("attention_mask", "tensor(int64)", ["batch", "tokens"]),
    ]
    assert [(one.name, one.type, one.shape) for one in session.get_outputs()] == [
        ("vectors", "tensor(float)", ["batch", 32])
    ]


def test_same_weights_give_the_same_bytes(folder: ModelFolder, tmp_path: Path) -> None:
    spec = reopened(folder).spec

    build_onnx(read_weights(folder.weights, spec), spec, tmp_path / "again.onnx")

    assert (tmp_path / "again.onnx").read_bytes() == folder.onnx.read_bytes()
    assert os.listdir(tmp_path) == ["again.onnx"]


def test_header_tells_versions_and_operators(header: GraphHeader) -> None:
    assert header.ir_version == 10
    assert header.opsets == {"": 20}
    assert header.operators == {("", name) for name in OPERATORS}
    assert header.outside is False


def test_header_tells_weights_in_another_file(folder: ModelFolder, tmp_path: Path) -> None:
    import onnx

    model = onnx.load(folder.onnx)
    onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)

    header = read_header(tmp_path / "model.onnx")

    assert header.outside is True
    assert unmet(header) == "keeps weights in another file, which its SHA-256 does not cover"


def kept_outside(values: Any) -> Any:
    """A tensor whose values are in another file."""
    from onnx import TensorProto, numpy_helper

    tensor = numpy_helper.from_array(values, "kept_outside")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    return tensor


def in_a_constant(tensor: Any) -> Any:
    from onnx import helper

    return helper.make_node("Constant", [], ["one_more"], value=tensor)


def in_a_branch(tensor: Any, operator: str = "Identity") -> Any:
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info("out", TensorProto.FLOAT, [2])]
    inner = helper.make_graph([helper.make_node(operator, [tensor.name], ["out"])], "inner", [], ends, [tensor])
    return helper.make_node("If", ["condition"], ["one_more"], then_branch=inner, else_branch=inner)


def in_a_branch_of_a_branch(tensor: Any) -> Any:
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info("out", TensorProto.FLOAT, [2])]
    inner = helper.make_graph([in_a_branch(tensor)], "inner", [], ends)
    return helper.make_node("Loop", ["", "condition"], ["one_more"], body=inner)


@pytest.mark.parametrize("place", [in_a_constant, in_a_branch, in_a_branch_of_a_branch])
def test_header_tells_weights_in_another_file_wherever_they_belong_to(
    folder: ModelFolder, tmp_path: Path, place: Callable[[Any], Any]
) -> None:
    import onnx

    path = tmp_path / "model.onnx"
    for outside in (False, True):
        values = np.ones(2, dtype=np.float32)
        tensor = kept_outside(values) if outside else onnx.numpy_helper.from_array(values, "kept_inside")
        model = onnx.load(folder.onnx)
        model.graph.node.insert(0, place(tensor))
        path.write_bytes(model.SerializeToString())

        assert read_header(path).outside is outside


def test_header_tells_operators_of_graphs_within_nodes(folder: ModelFolder, tmp_path: Path) -> None:
    import onnx

    model = onnx.load(folder.onnx)
    inside = onnx.numpy_helper.from_array(np.ones(2, dtype=np.float32), "kept_inside")
    model.graph.node.insert(0, in_a_branch(inside, "Levitate"))
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())

    assert read_header(path).operators == {("", name) for name in {*OPERATORS, "If", "Levitate"}}
    assert unmet(read_header(path)).startswith("uses the operator Levitate, which ONNX Runtime ")


def test_graphs_within_graphs_without_end_are_no_model(tmp_path: Path) -> None:
    def message(field: int, value: bytes) -> bytes:
        length, encoded = len(value), bytearray()
        while length > 0x7F:
            encoded.append(length & 0x7F | 0x80)
            length >>= 7
        return bytes([field << 3 | 2]) + bytes([*encoded, length]) + value

    graph = b""
    for _ in range(2_000):
        graph = message(1, message(4, b"If") + message(5, message(6, graph)))
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x08\x0a" + message(7, graph) + message(8, b"\x10\x14"))

    with pytest.raises(NoGraphError, match="nested too deeply"):
        read_header(path)


def test_no_prefix_of_a_graph_is_a_graph(folder: ModelFolder, tmp_path: Path) -> None:
    # the versions stand behind the graph, so that every cut takes something that is needed
    whole = folder.onnx.read_bytes()
    path = tmp_path / "model.onnx"
    for length in [*range(0, 400), *range(400, len(whole) - 400, 977), *range(len(whole) - 400, len(whole))]:
        path.write_bytes(whole[:length])
        with pytest.raises(NoGraphError):
            read_header(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"\0", b"PK\x03\x04", b"{}", b"\xff" * 100, b"\x08" + b"\xff" * 20, b"\x3a\x00", b"\x08\x0a\x42\x02\x10\x14"],
)
def test_other_files_are_no_graphs(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)

    with pytest.raises(LoadRefusedError, match="is no ONNX model") as refused:
        check_capability(path)

    assert refused.value.stage == "capability"


def test_what_is_built_is_within_what_the_runtime_has(folder: ModelFolder, header: GraphHeader) -> None:
    check_capability(folder.onnx)

    assert unmet(header) == ""


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"opsets": {"": 99}}, r"asks for opset 99, and ONNX Runtime [\d.]+ knows 1 to [2-9]\d"),
        ({"opsets": {"": 2**70}}, r"asks for opset 1180591620717411303424, and ONNX Runtime [\d.]+ knows 1 to [2-9]\d"),
        ({"opsets": {"ai.onnx.ml": 3}}, r"asks for opset 0, and ONNX Runtime [\d.]+ knows 1 to [2-9]\d"),
        ({"ir_version": 99}, r"has IR version 99, and ONNX Runtime [\d.]+ knows none above 1\d"),
        ({"opsets": {"": 17}}, "uses the operator Gelu of opset 20 and asks for opset 17"),
        (
            {"operators": frozenset({("", "Levitate")})},
            r"uses the operator Levitate, which ONNX Runtime [\d.]+ does not",
        ),
        (
            {"operators": frozenset({("of.a.stranger", "Add")})},
            r"uses of\.a\.stranger\.Add of a domain that ONNX Runtime [\d.]+ does not have",
        ),
        ({"operators": frozenset({("", "\x1b[31mRed\n")})}, "uses the operator \ufffd\\[31mRed\ufffd, which"),
    ],
)
def test_what_the_runtime_does_not_have_is_told(header: GraphHeader, changes: dict[str, Any], reason: str) -> None:
    assert re.match(reason, unmet(header._replace(**changes)))


@pytest.mark.parametrize("changes", [{"opsets": {"": 21}}, {"ir_version": 9}, {"opsets": {"": 20, "com.microsoft": 1}}])
def test_what_the_runtime_has_is_not_refused(header: GraphHeader, changes: dict[str, Any]) -> None:
    assert unmet(header._replace(**changes)) == ""


def test_runtime_without_a_list_of_operators_leaves_them_to_the_session(
    header: GraphHeader, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    monkeypatch.delattr(state, "get_all_operator_schema")

    assert unmet(header._replace(operators=frozenset({("", "Levitate")}))) == ""
    assert "asks for opset 99" in unmet(header._replace(opsets={"": 99}))
