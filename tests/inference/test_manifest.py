"""`manifest.json`: read with distrust, refused in one line, and every file held against it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.inference.toy import reopened, reseal, sha256, toy_model
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.inference.manifest import check_files, digest_of, read_manifest, write_manifest
from tokenledger_dagster.inference.model_folder import ModelFolder

for package in ("onnx", "safetensors", "tokenizers"):
    pytest.importorskip(package, reason="the extra `inference` is not installed")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    """Not to be changed."""
    return toy_model(tmp_path_factory.mktemp("toy") / "model")


@pytest.fixture
def folder(tmp_path: Path) -> ModelFolder:
    return toy_model(tmp_path / "model")


def test_what_is_written_is_read(made: ModelFolder, tmp_path: Path) -> None:
    manifest = reopened(made)
    write_manifest(ModelFolder(tmp_path), manifest)

    assert read_manifest(ModelFolder(tmp_path)) == manifest
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


# ------------------------------------------------------------------ refusals


def edit(folder: ModelFolder, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(folder.manifest.read_bytes())
    change(document)
    folder.manifest.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda one: one.update(schema_version=2), "schema_version 2 is newer than this program"),
        (lambda one: one.pop("spec"), "is no manifest (Object missing required field `spec`)"),
        (lambda one: one["files"].update({"../../etc/passwd": "0" * 64}), "file '../../etc/passwd' lies outside"),
        (lambda one: one["files"].update({"/etc/passwd": "0" * 64}), "file '/etc/passwd' lies outside the folder"),
        (lambda one: one["files"].update({"model.onnx": "0"}), "file 'model.onnx' has no SHA-256"),
        (lambda one: one["files"].pop("model.onnx"), "does not tell the hash of model.onnx"),
        (lambda one: one["spec"].update(heads=5), "the model's shape is impossible"),
        (lambda one: one["spec"].update(max_tokens=65), "the model's shape is impossible"),
        (lambda one: one["spec"].update(layers=10**6), "the model's shape is impossible"),
        (lambda one: one["spec"].update(vocab_size=2**70), "the model's shape is impossible"),
        (lambda one: one["spec"].update(layer_norm_eps=-1.0), "the model's shape is impossible"),
        (lambda one: one.update(coreml_tokens=0), "coreml_tokens 0 is impossible"),
        (lambda one: one.update(golden=[]), "has no golden texts"),
        (lambda one: one["golden"][1].update(ids=[2, -1, 3]), "golden text 1 has impossible token ids"),
        (lambda one: one["golden"][0].update(ids=[]), "golden text 0 has impossible token ids"),
        (lambda one: one["golden"][2]["vector"].pop(), "golden text 2 has no unit vector of 32 numbers"),
        (lambda one: one["golden"][0].update(vector=[0.0] * 32), "golden text 0 has no unit vector of 32 numbers"),
    ],
)
def test_what_no_build_writes_is_refused(
    folder: ModelFolder, change: Callable[[dict[str, Any]], object], reason: str
) -> None:
    edit(folder, change)

    with pytest.raises(TokenLedgerError) as refused:
        read_manifest(folder)

    text = str(refused.value)
    assert text.startswith(f"{folder.manifest}: ")
    assert reason in text
    assert ("tokenledger models build" in text) or ("update tokenledger" in text)


@pytest.mark.parametrize("content", [b"", b"\0\0", b"[]", b"{", b"null", b"\xff\xfe", b"[" * 100_000, b'{"files": 1}'])
def test_other_bytes_are_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "manifest.json").write_bytes(content)

    with pytest.raises(TokenLedgerError) as refused:
        read_manifest(ModelFolder(tmp_path))

    assert "\n" not in str(refused.value)
    assert "is no manifest" in str(refused.value)


@given(content=st.binary(max_size=60))
def test_no_bytes_are_a_traceback(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = ModelFolder(tmp_path_factory.getbasetemp())
    folder.manifest.write_bytes(content)

    with pytest.raises(TokenLedgerError):
        read_manifest(folder)


def test_a_missing_one_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(TokenLedgerError, match=r"manifest\.json: is not there; run `tokenledger models build`"):
        read_manifest(ModelFolder(tmp_path))


def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").mkdir()

    with pytest.raises(TokenLedgerError, match=r"manifest\.json: cannot be read"):
        read_manifest(ModelFolder(tmp_path))


def test_a_pipe_in_place_of_a_file_is_not_waited_for(folder: ModelFolder) -> None:
    manifest = read_manifest(folder)
    for path in (folder.manifest, folder.config):
        path.unlink()
        os.mkfifo(path)

    with pytest.raises(TokenLedgerError, match=r"manifest\.json: is no file"):
        read_manifest(folder)
    (state,) = check_files(folder, manifest, ["config.json"])
    assert (state.state, "is no file" in state.problem) == ("unreadable", True)


# ------------------------------------------------------------------ files


def states(folder: ModelFolder) -> dict[str, str]:
    return {one.path: one.state for one in check_files(folder, reopened(folder))}


def test_untouched_files_are_what_the_manifest_says(made: ModelFolder) -> None:
    assert states(made) == dict.fromkeys(("model.safetensors", "config.json", "tokenizer.json", "model.onnx"), "ok")
    assert all(one.actual == one.expected and not one.problem for one in check_files(made, reopened(made)))


def test_changed_missing_and_unreadable_files_are_told_apart(folder: ModelFolder) -> None:
    weights = bytearray(folder.weights.read_bytes())
    weights[-100] ^= 1
    folder.weights.write_bytes(weights)
    folder.onnx.unlink()
    folder.config.unlink()
    folder.config.mkdir()

    found = {one.path: one for one in check_files(folder, reopened(folder))}

    assert {name: one.state for name, one in found.items()} == {
        "model.safetensors": "changed",
        "config.json": "unreadable",
        "tokenizer.json": "ok",
        "model.onnx": "missing",
    }
    assert found["model.safetensors"].actual == sha256(folder.weights)
    assert found["model.onnx"].problem == (
        f"{folder.onnx}: is not there; build it again with `tokenledger models build`"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_file_without_permission_is_unreadable(folder: ModelFolder) -> None:
    folder.onnx.chmod(0)

    assert states(folder)["model.onnx"] == "unreadable"


def test_only_the_named_files_are_read(made: ModelFolder) -> None:
    found = check_files(made, reopened(made), ["model.onnx", "model.mlpackage/of/another"])

    assert [(one.path, one.state) for one in found] == [
        ("model.onnx", "ok"),
        ("model.mlpackage/of/another", "missing"),
    ]


def test_equal_files_have_one_digest_whoever_built_them(folder: ModelFolder) -> None:
    before = digest_of(reopened(folder))

    assert digest_of(reseal(folder, created_at="2027-01-01T00:00:00Z", source="elsewhere")) == before
    folder.config.write_text(folder.config.read_text() + " ")
    assert digest_of(reseal(folder)) != before
