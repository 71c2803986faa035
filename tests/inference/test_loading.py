"""The load check: every way in which a model may be wrong, and the step that says so."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.inference.toy import reopened, reseal, save_weights, toy_model, toy_weights
from tokenledger_dagster.inference.backend import BackendName, LoadRefusedError
from tokenledger_dagster.inference.loading import load_backend
from tokenledger_dagster.inference.model_folder import GoldenText, ModelFolder
from tokenledger_dagster.inference.numpy_backend import NumpyBackend
from tokenledger_dagster.inference.onnx_graph import build_onnx
from tokenledger_dagster.inference.weights import read_weights

for package in ("onnx", "onnxruntime", "safetensors", "tokenizers"):
    pytest.importorskip(package, reason="the extra `inference` is not installed")


@pytest.fixture
def folder(tmp_path: Path) -> ModelFolder:
    return toy_model(tmp_path / "model")


def refusal(name: BackendName, folder: ModelFolder, **options: Any) -> tuple[str, str]:
    """The step that refused and what it said."""
    with pytest.raises(LoadRefusedError) as refused:
        load_backend(name, folder, reopened(folder), **options)
    text = str(refused.value)
    assert text.isprintable(), "one line that any terminal can show"
    return refused.value.stage, text


def edited(folder: ModelFolder, change: Callable[[Any], object]) -> None:
    """The graph with a change made to it, and a manifest that agrees."""
    import onnx

    model = onnx.load(folder.onnx)
    change(model)
    folder.onnx.write_bytes(model.SerializeToString())
    reseal(folder)


# ------------------------------------------------------------------ a model that is whole


@pytest.mark.parametrize("name", ["onnx", "numpy"])
def test_whole_model_is_loaded_without_a_word(
    folder: ModelFolder, name: BackendName, capfd: pytest.CaptureFixture[str]
) -> None:
    backend = load_backend(name, folder, reopened(folder))

    assert backend.name == name
    assert capfd.readouterr() == ("", "")


def test_backend_needs_its_own_files_alone(folder: ModelFolder) -> None:
    folder.config.unlink()

    folder.weights.rename(folder.root / "aside")
    assert load_backend("onnx", folder, reopened(folder)).name == "onnx"

    (folder.root / "aside").rename(folder.weights)
    folder.onnx.unlink()
    assert load_backend("numpy", folder, reopened(folder)).name == "numpy"


@pytest.mark.parametrize("name", ["onnx", "numpy"])
def test_nothing_is_recorded_about_its_use(folder: ModelFolder, tmp_path: Path, name: BackendName) -> None:
    # as published, ONNX Runtime keeps an identifier of the machine and events to send in the home of whoever loads it
    home = tmp_path / "home"
    home.mkdir()
    code = (
        "import sys; from pathlib import Path; from tests.inference.toy import padded, reopened;"
        "from tokenledger_dagster.inference.loading import load_backend;"
        "from tokenledger_dagster.inference.model_folder import ModelFolder;"
        "folder = ModelFolder(Path(sys.argv[1])); backend = load_backend(sys.argv[2], folder, reopened(folder));"
        "backend.embed(*padded([[2, 3]]), timeout_s=30)"
    )
    environment = {one: value for one, value in os.environ.items() if one != "ORT_DISABLE_TELEMETRY"}
    found = subprocess.run(
        [sys.executable, "-c", code, str(folder.root), name],
        capture_output=True,
        text=True,
        env=environment | {"HOME": str(home), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )

    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
    assert list(home.rglob("*")) == []


def test_importing_the_modules_loads_no_array_library_and_no_runtime() -> None:
    modules = "backend batch_run capability encoder loading numpy_backend onnx_backend onnx_graph onnx_header weights"
    heavy = ["coremltools", "numpy", "onnx", "onnxruntime", "safetensors", "tokenizers"]
    code = f"""
import importlib, sys
for name in {modules.split()!r}:
    importlib.import_module(f"tokenledger_dagster.inference.{{name}}")
print([name for name in {heavy!r} if name in sys.modules])
"""
    root = Path(__file__).parents[2]

    found = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)

    assert found.stdout == "[]\n"


# ------------------------------------------------------------------ platform


def test_coreml_is_refused_where_there_is_none(folder: ModelFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")

    assert refusal("coreml", folder) == ("platform", "coreml: runs on macOS, and this is linux; ask for onnx")


@pytest.mark.parametrize(
    ("name", "package"),
    [("onnx", "onnxruntime"), ("onnx", "numpy"), ("numpy", "safetensors"), ("coreml", "coremltools")],
)
def test_missing_package_is_named(
    folder: ModelFolder, monkeypatch: pytest.MonkeyPatch, name: BackendName, package: str
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setitem(sys.modules, package, None)

    assert refusal(name, folder) == (
        "platform",
        f"{name}: {package} is not installed or is broken; install the extras with `make setup-inference`",
    )


# ------------------------------------------------------------------ files and their hashes

OWN: list[tuple[BackendName, str]] = [("onnx", "model.onnx"), ("numpy", "model.safetensors")]
NEEDED = [*OWN, ("onnx", "tokenizer.json"), ("numpy", "tokenizer.json")]


@pytest.mark.parametrize(("name", "file"), NEEDED)
def test_missing_file(folder: ModelFolder, name: BackendName, file: str) -> None:
    (folder.root / file).unlink()

    assert refusal(name, folder) == (
        "files",
        f"{folder.root / file}: there is no such file; build the model with `tokenledger models build`",
    )


@pytest.mark.parametrize(("name", "file"), NEEDED)
def test_folder_in_place_of_a_file(folder: ModelFolder, name: BackendName, file: str) -> None:
    (folder.root / file).unlink()
    (folder.root / file).mkdir()

    stage, text = refusal(name, folder)

    assert stage == "files"
    assert text.startswith(f"{folder.root / file}: is a folder; remove it and ")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipe_in_place_of_a_file_is_not_waited_for(folder: ModelFolder) -> None:
    folder.onnx.unlink()
    os.mkfifo(folder.onnx)

    stage, text = refusal("onnx", folder)

    assert (stage, "is no regular file" in text) == ("files", True)


def test_folder_of_the_model_that_is_a_file(folder: ModelFolder, tmp_path: Path) -> None:
    manifest = reopened(folder)
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(LoadRefusedError, match="there is no such file") as refused:
        load_backend("onnx", ModelFolder(tmp_path / "file"), manifest)

    assert refused.value.stage == "files"


def test_package_that_was_not_built(folder: ModelFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("coremltools") is None:  # importing it takes seconds
        pytest.skip("the extra `coreml` is not installed")
    monkeypatch.setattr(sys, "platform", "darwin")

    stage, text = refusal("coreml", folder)

    assert stage == "files"
    assert text == f"{folder.mlpackage}: was not built; build the model with `tokenledger models build`"


@pytest.mark.parametrize(("name", "file"), NEEDED)
def test_file_that_the_manifest_does_not_tell(folder: ModelFolder, name: BackendName, file: str) -> None:
    manifest = reopened(folder)
    del manifest.files[file]

    with pytest.raises(LoadRefusedError, match="is not in the manifest") as refused:
        load_backend(name, folder, manifest)

    assert refused.value.stage == "sha256"


@pytest.mark.parametrize(("name", "file"), OWN)
def test_flipped_weights_have_another_hash(folder: ModelFolder, name: BackendName, file: str) -> None:
    flip(folder.root / file)

    stage, text = refusal(name, folder)

    assert stage == "sha256"
    assert text.startswith(f"{folder.root / file}: SHA-256 is ")


@pytest.mark.parametrize("content", [b"", b"\0" * 100, None], ids=["empty", "garbage", "truncated"])
@pytest.mark.parametrize(("name", "file"), OWN)
def test_empty_garbage_or_truncated_files_have_another_hash(
    folder: ModelFolder, name: BackendName, file: str, content: bytes | None
) -> None:
    path = folder.root / file
    path.write_bytes(path.read_bytes()[:-1000] if content is None else content)

    assert refusal(name, folder)[0] == "sha256"


@pytest.mark.parametrize("name", ["onnx", "numpy"])
def test_another_tokenizer_is_refused(folder: ModelFolder, name: BackendName) -> None:
    # its ids would be valid, and the vectors those of other words
    content = folder.tokenizer.read_text(encoding="utf-8")
    folder.tokenizer.write_text(content.replace('"lowercase":true', '"lowercase":false'), encoding="utf-8")
    if folder.tokenizer.read_text(encoding="utf-8") == content:
        folder.tokenizer.write_text(content + " ", encoding="utf-8")

    stage, text = refusal(name, folder)

    assert stage == "sha256"
    assert text.startswith(f"{folder.tokenizer}: SHA-256 is ")


# ------------------------------------------------------------------ with a manifest that agrees: what the files hold


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "the file is empty"), (b"\0" * 100, "it is no protocol buffer"), (None, "it ends in the middle")],
    ids=["empty", "garbage", "truncated"],
)
def test_what_is_no_graph(folder: ModelFolder, content: bytes | None, reason: str) -> None:
    folder.onnx.write_bytes(folder.onnx.read_bytes()[:-1000] if content is None else content)
    reseal(folder)

    assert refusal("onnx", folder) == (
        "capability",
        f"{folder.onnx}: is no ONNX model ({reason}); build it again with `tokenledger models build`",
    )


@pytest.mark.parametrize("content", [b"", b"\0" * 100, None], ids=["empty", "garbage", "truncated"])
def test_what_is_no_checkpoint(folder: ModelFolder, content: bytes | None) -> None:
    folder.weights.write_bytes(folder.weights.read_bytes()[:-1000] if content is None else content)
    reseal(folder)

    stage, text = refusal("numpy", folder)

    assert stage == "session"
    assert text.startswith(f"{folder.weights}: cannot be read as safetensors (")


def flip(path: Path) -> None:
    """A thousand bytes, in the weights, every one of them changed."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    for at in range(middle, middle + 1000):
        content[at] ^= 0x15
    path.write_bytes(content)


@pytest.mark.parametrize(("name", "file"), OWN)
def test_flipped_weights_that_have_the_hash_compute_something_else(
    folder: ModelFolder, name: BackendName, file: str
) -> None:
    flip(folder.root / file)
    reseal(folder)

    stage, text = refusal(name, folder)

    assert stage == "golden"
    assert text.startswith(f"{folder.root}: {name} ")


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["onnx", "numpy"])
def test_weights_that_are_not_finite_are_refused(
    folder: ModelFolder, name: BackendName, value: float, capfd: pytest.CaptureFixture[str]
) -> None:
    weights = toy_weights(folder)
    weights["encoder.layer.1.output.dense.weight"][3, 5] = value
    save_weights(folder, weights)
    build_onnx(weights, reopened(folder).spec, folder.onnx)
    reseal(folder)

    stage, text = refusal(name, folder)

    assert stage == "golden"
    assert text.startswith(f"{folder.root}: {name} fails on a golden text (answer: row 0 holds NaN or infinity")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["onnx", "numpy"])
def test_weights_of_another_model_are_refused(folder: ModelFolder, name: BackendName) -> None:
    weights = toy_weights(folder, seed=8)
    save_weights(folder, weights)
    build_onnx(weights, reopened(folder).spec, folder.onnx)
    reseal(folder)

    stage, text = refusal(name, folder)

    assert stage == "golden"
    assert f"{name} differs from the golden vectors by " in text
    assert "fp32 may by 1e-05 (1e-06)" in text


def test_model_without_golden_texts_is_never_ready(folder: ModelFolder) -> None:
    reseal(folder, golden=False)
    manifest = reopened(folder)
    manifest.golden.clear()

    with pytest.raises(LoadRefusedError, match="has no golden texts to hold numpy against") as refused:
        load_backend("numpy", folder, manifest)

    assert refused.value.stage == "golden"


def test_golden_text_that_is_no_batch_is_a_refusal(folder: ModelFolder) -> None:
    golden = reopened(folder).golden[0]
    reseal(folder)
    manifest = reopened(folder)
    manifest.golden.append(GoldenText(text="?", ids=[2, 99_999], vector=golden.vector))

    with pytest.raises(LoadRefusedError, match="outside the vocabulary") as refused:
        load_backend("onnx", folder, manifest)

    assert refused.value.stage == "golden"


def test_refused_backend_is_closed(folder: ModelFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []
    monkeypatch.setattr(NumpyBackend, "close", lambda self: closed.append(self.name))
    save_weights(folder, toy_weights(folder, seed=8))
    reseal(folder)

    refusal("numpy", folder)

    assert closed == ["numpy"]


@pytest.mark.parametrize(("name", "opened"), [("onnx", "load_onnx"), ("numpy", "load_numpy")])
def test_file_that_is_replaced_after_its_hash_was_taken_is_refused(
    folder: ModelFolder, name: BackendName, opened: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tokenledger_dagster.inference import numpy_backend, onnx_backend

    module: Any = onnx_backend if name == "onnx" else numpy_backend
    path = folder.onnx if name == "onnx" else folder.weights
    real = getattr(module, opened)

    def replaced(*given: Any, **options: Any) -> Any:
        path.with_suffix(".new").write_bytes(path.read_bytes())  # of the same bytes, which nobody has looked at
        path.with_suffix(".new").rename(path)
        return real(*given, **options)

    monkeypatch.setattr(module, opened, replaced)

    assert refusal(name, folder) == ("sha256", f"{path}: was replaced while it was loaded; ask again")


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (FileNotFoundError(2, "No such file or directory"), "[Errno 2] No such file or directory"),
        (MemoryError(), "not enough memory"),
    ],
)
def test_whatever_goes_wrong_while_it_is_opened_is_a_refusal(
    folder: ModelFolder, fault: Exception, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tokenledger_dagster.inference import onnx_backend

    def fails(*given: Any, **options: Any) -> None:
        raise fault

    monkeypatch.setattr(onnx_backend, "load_onnx", fails)

    assert refusal("onnx", folder) == (
        "session",
        f"{folder.root}: onnx cannot be loaded ({told}); build the model with `tokenledger models build`",
    )


def test_golden_texts_that_do_not_fit_into_memory_are_a_refusal(
    folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: Any, **options: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(NumpyBackend, "embed", full)

    stage, text = refusal("numpy", folder)

    assert stage == "golden"
    assert text.startswith(f"{folder.root}: numpy fails on a golden text (not enough memory); ")


def test_package_that_breaks_while_it_is_imported_is_a_refusal(
    folder: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "onnxruntime.py").write_text("raise RuntimeError('built for another numpy')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "onnxruntime")

    stage, text = refusal("onnx", folder)

    assert stage == "platform"
    assert text.startswith("onnx: onnxruntime is not installed or is broken; ")


# ------------------------------------------------------------------ a graph that asks for too much, or is another one


def with_opset(version: int) -> Callable[[Any], object]:
    return lambda model: setattr(model.opset_import[0], "version", version)


def with_operator(name: str, domain: str = "") -> Callable[[Any], object]:
    def change(model: Any) -> None:
        node = next(one for one in model.graph.node if one.op_type == "Gelu")
        node.op_type, node.domain = name, domain

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (with_opset(99), "asks for opset 99, and ONNX Runtime "),
        (with_opset(17), "uses the operator Gelu of opset 20 and asks for opset 17"),
        (lambda model: setattr(model, "ir_version", 99), "has IR version 99, and ONNX Runtime "),
        (with_operator("Levitate"), "uses the operator Levitate, which ONNX Runtime "),
        (with_operator("Add", "of.a.stranger"), "uses of.a.stranger.Add of a domain that ONNX Runtime "),
        (lambda model: model.graph.ClearField("node"), "is no ONNX model (its graph is empty)"),
    ],
    ids=["opset too new", "opset too old", "IR", "operator", "domain", "empty"],
)
def test_what_the_runtime_does_not_have(
    folder: ModelFolder, change: Callable[[Any], object], reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    edited(folder, change)

    stage, text = refusal("onnx", folder)

    assert stage == "capability"
    assert text.startswith(f"{folder.onnx}: {reason}")
    assert text.endswith("; build it again with `tokenledger models build`")
    assert capfd.readouterr() == ("", "")


def test_graph_that_does_not_fit_together_is_refused_by_the_session(
    folder: ModelFolder, capfd: pytest.CaptureFixture[str]
) -> None:
    edited(folder, lambda model: model.graph.node[5].input.__setitem__(0, "nowhere"))

    stage, text = refusal("onnx", folder)

    assert stage == "session"
    assert text.startswith(f"{folder.onnx}: ONNX Runtime does not load it ([ONNXRuntimeError]")
    assert capfd.readouterr() == ("", "")


def renamed(old: str, new: str) -> Callable[[Any], object]:
    def change(model: Any) -> None:
        for one in (*model.graph.input, *model.graph.output):
            one.name = new if one.name == old else one.name
        for node in model.graph.node:
            node.input[:] = [new if one == old else one for one in node.input]
            node.output[:] = [new if one == old else one for one in node.output]

    return change


def retyped(name: str, dtype: str) -> Callable[[Any], object]:
    """The graph with an input of another type, or an output, cast from or to what it was."""

    def change(model: Any) -> None:
        from onnx import TensorProto, helper

        graph = model.graph
        declared = next(one for one in (*graph.input, *graph.output) if one.name == name)
        before = declared.type.tensor_type.elem_type
        declared.type.tensor_type.elem_type = TensorProto.DataType.Value(dtype)
        if declared in graph.input:
            for node in graph.node:
                node.input[:] = ["cast" if one == name else one for one in node.input]
            graph.node.insert(0, helper.make_node("Cast", [name], ["cast"], to=before))
        else:
            graph.node[-1].output[0] = "cast"
            graph.node.append(helper.make_node("Cast", ["cast"], [name], to=TensorProto.DataType.Value(dtype)))

    return change


def extra_input(model: Any) -> None:
    from onnx import TensorProto, helper

    model.graph.input.append(helper.make_tensor_value_info("token_type_ids", TensorProto.INT64, ["batch", "tokens"]))


def fixed_batch(model: Any) -> None:
    for one in model.graph.input:
        one.type.tensor_type.shape.dim[0].dim_value = 1


NAMES = "where input_ids, attention_mask to vectors is needed"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (renamed("input_ids", "ids"), f"computes attention_mask, ids to vectors, {NAMES}"),
        (renamed("vectors", "embedding"), f"computes attention_mask, input_ids to embedding, {NAMES}"),
        (extra_input, f"computes attention_mask, input_ids, token_type_ids to vectors, {NAMES}"),
        (retyped("input_ids", "INT32"), "input_ids is tensor(int32), where tensor(int64) is needed"),
        (retyped("attention_mask", "FLOAT"), "attention_mask is tensor(float), where tensor(int64) is needed"),
        (retyped("vectors", "FLOAT16"), "vectors is tensor(float16), where tensor(float) is needed"),
        (retyped("vectors", "DOUBLE"), "vectors is tensor(double), where tensor(float) is needed"),
        (fixed_batch, "input_ids is 1xany, where anyxany is needed"),
    ],
    ids=["input", "output", "input too many", "int32", "float mask", "float16", "double", "fixed batch"],
)
def test_graph_of_another_signature(folder: ModelFolder, change: Callable[[Any], object], reason: str) -> None:
    edited(folder, change)

    assert refusal("onnx", folder) == (
        "signature",
        f"{folder.onnx}: {reason}; build it again with `tokenledger models build`",
    )


def test_graph_whose_names_are_no_text(folder: ModelFolder) -> None:
    content = folder.onnx.read_bytes()
    assert b"input_ids" in content
    folder.onnx.write_bytes(content.replace(b"input_ids", b"input_\xff\xfes"))
    reseal(folder)

    assert refusal("onnx", folder) == (
        "signature",
        f"{folder.onnx}: has names that are no text; build it again with `tokenledger models build`",
    )


def test_graph_of_another_length_of_vectors(folder: ModelFolder, tmp_path: Path) -> None:
    folder.onnx.write_bytes(toy_model(tmp_path / "other", dims=16).onnx.read_bytes())
    reseal(folder)

    stage, text = refusal("onnx", folder)

    assert stage == "signature"
    assert "vectors is anyx16, where anyx32 is needed" in text


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (None, "is missing"),
        (np.zeros((32, 32), np.float16), "is F16 where F32 is needed"),
        (np.zeros((32, 16), np.float32), "is 32x16 where 32x32 is needed"),
    ],
    ids=["missing", "dtype", "shape"],
)
def test_checkpoint_of_another_signature(folder: ModelFolder, tensor: Any, reason: str) -> None:
    name = "encoder.layer.0.attention.self.key.weight"
    weights: dict[str, Any] = {**toy_weights(folder), name: tensor}
    save_weights(folder, {key: value for key, value in weights.items() if value is not None})
    reseal(folder)

    stage, text = refusal("numpy", folder)

    assert stage == "signature"
    assert text.startswith(f"{folder.weights}: {name} {reason}")


# ------------------------------------------------------------------ providers


def test_provider_that_nobody_knows(folder: ModelFolder) -> None:
    stage, text = refusal("onnx", folder, providers=["CrystalBallExecutionProvider", "CPUExecutionProvider"])

    assert stage == "providers"
    assert text.startswith(f"{folder.onnx}: this ONNX Runtime has no CrystalBallExecutionProvider; ask for ")
    assert "CPUExecutionProvider" in text


def test_no_provider_at_all(folder: ModelFolder) -> None:
    assert refusal("onnx", folder, providers=[])[0] == "providers"


@pytest.mark.filterwarnings("ignore:Specified provider:UserWarning")
def test_provider_that_is_silently_replaced(folder: ModelFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    # a runtime that lists a provider and then takes the processor, as with a driver that is not there
    import onnxruntime

    available = onnxruntime.get_available_providers()
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", *available])

    assert refusal("onnx", folder, providers=["CUDAExecutionProvider"]) == (
        "providers",
        f"{folder.onnx}: asked for CUDAExecutionProvider and would run on CPUExecutionProvider; "
        "ask for CPUExecutionProvider",
    )


def test_weights_of_the_toy_are_the_checkpoints(folder: ModelFolder) -> None:
    weights, made = read_weights(folder.weights, reopened(folder).spec), toy_weights(folder)

    assert weights.keys() == made.keys()
    assert all(np.array_equal(weights[name], made[name]) for name in made)
