"""The walk of C and that of Python see the same files, in the same order, with the same numbers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from tokenledger_dagster.clients import compiled, walk
from tokenledger_dagster.clients.walk import Seen

REPOSITORY = Path(__file__).resolve().parents[2]
BUILT = compiled.bulk() is not None
needs_build = pytest.mark.skipif(not BUILT, reason="the compiled readers are not built")


def walked(root: Path) -> list[tuple[str, str, int, int, int, int, int]]:
    return [
        (path, below, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev)
        for path, below, stat in walk.log_files(os.fspath(root))
    ]


def alike(root: Path) -> list[str]:
    """Paths below the root, by both."""
    found = walked(root)
    with compiled.left_out():
        assert walked(root) == found
    return [below for _, below, *_ in found]


def compiled_walk(root: Path) -> list[Seen] | None:
    return walk.seen_below(os.fspath(root))


def test_files_of_a_folder_come_first_then_its_folders_from_the_last(tmp_path: Path) -> None:
    for name in ("b/2.jsonl", "a/1.jsonl", "z.jsonl", "a/deep/0.jsonl", ".hidden/h.jsonl", "A.jsonl", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)

    assert alike(tmp_path) == ["A.jsonl", "z.jsonl", "b/2.jsonl", "a/1.jsonl", "a/deep/0.jsonl", ".hidden/h.jsonl"]


def test_what_is_called_a_log(tmp_path: Path) -> None:
    logs = ["a.jsonl", "a.jsonl.1", "a.jsonl.12.gz", "a.jsonl.gz", "a.jsonl.zst", ".jsonl", "b.jsonl.0.zst"]
    others = [
        "a.json",
        "a.jsonl.x",
        "a.jsonl.",
        "1.gz",
        "1",
        "jsonl",
        "a.jsonl.1.gz.zst",
        "a.jsonl.gz.1",
        "a.jsonl.1.2",
    ]
    for name in logs + others:
        (tmp_path / name).touch()

    assert alike(tmp_path) == sorted(name for name in logs + others if walk.is_log(name)) == sorted(logs)


def test_links_are_followed_once_and_what_leads_nowhere_is_passed_over(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    root.mkdir()
    elsewhere.mkdir()
    (elsewhere / "far.jsonl").write_text("far")
    (root / "near.jsonl").write_text("near")
    (root / "link.jsonl").symlink_to(root / "near.jsonl")
    (root / "gone.jsonl").symlink_to(root / "nowhere")
    (root / "one").symlink_to(elsewhere)
    (root / "two").symlink_to(elsewhere)
    (root / "loop").symlink_to(root)
    os.mkfifo(root / "pipe.jsonl")
    (root / "folder.jsonl").mkdir()

    assert alike(root) == ["link.jsonl", "near.jsonl", "one/far.jsonl", "loop/link.jsonl", "loop/near.jsonl"]


def test_folders_are_entered_to_the_same_depth(tmp_path: Path) -> None:
    folder = tmp_path
    for depth in range(walk.MAX_DEPTH + 3):
        (folder / f"{depth}.jsonl").touch()
        folder /= "d"
        folder.mkdir()

    assert len(alike(tmp_path)) == walk.MAX_DEPTH + 1


@needs_build
@pytest.mark.parametrize("name", ["größe.jsonl", b"odd-\xff.jsonl"])
def test_names_that_are_not_plain_are_left_to_python(tmp_path: Path, name: str | bytes) -> None:
    (tmp_path / "plain.jsonl").touch()
    assert compiled_walk(tmp_path) is not None
    Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), os.fsencode(name)))).touch()

    assert compiled_walk(tmp_path) is None
    assert len(alike(tmp_path)) == 2


@needs_build
def test_a_root_may_have_any_name_be_a_file_or_not_be_there(tmp_path: Path) -> None:
    root = tmp_path / "größe"
    root.mkdir()
    (root / "a.jsonl").touch()

    assert compiled_walk(root) is not None
    assert alike(root) == ["a.jsonl"]
    assert compiled_walk(root / "a.jsonl") is None
    assert alike(root / "a.jsonl") == ["a.jsonl"]
    assert compiled_walk(tmp_path / "missing") == []


def test_what_has_too_long_a_path_to_be_opened_is_none(tmp_path: Path) -> None:
    here = Path.cwd()
    os.chdir(tmp_path)
    try:
        for _ in range(17):
            os.mkdir("n" * 250)
            os.chdir("n" * 250)
            Path("x.jsonl").touch()
    finally:
        os.chdir(here)
    found = alike(tmp_path)
    subprocess.run(["rm", "-rf", os.fspath(tmp_path / ("n" * 250))], check=True)  # shutil opens whole paths

    assert 0 < len(found) < 17


@needs_build
@pytest.mark.parametrize("seconds", [9_999_999_999, -9_999_999_999])
def test_times_far_off_are_told_by_python(tmp_path: Path, seconds: int) -> None:
    log = tmp_path / "a.jsonl"
    log.touch()
    try:
        os.utime(log, (seconds, seconds))
    except OverflowError:
        pytest.skip("this system has no such times")
    if log.stat().st_mtime != seconds:
        pytest.skip("this file system has no such times")

    assert compiled_walk(tmp_path) is None
    assert alike(tmp_path) == ["a.jsonl"]


@needs_build
def test_few_descriptors_are_no_reason_to_pass_folders_over(tmp_path: Path) -> None:
    folder = tmp_path
    for name in "abcdefghijkl":
        folder /= name
        folder.mkdir()
        (folder / "x.jsonl").touch()
    code = (
        "import resource, sys; from tokenledger_dagster.clients import compiled, walk; compiled.bulk()\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (10, 10))\n"
        "print(len(list(walk.log_files(sys.argv[1]))))"
    )
    command = [sys.executable, "-c", code, os.fspath(tmp_path)]

    assert subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60).stdout == "12\n"


@pytest.mark.parametrize("seed", range(20))
def test_any_tree_is_walked_alike(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    folders = [tmp_path]
    for _ in range(60):
        folder = random.choice(folders)
        name = random.choice("aBc_.-1") + random.choice(("", "x", ".jsonl", ".jsonl.gz", ".JSONL", ".jsonl.7"))
        path = folder / name
        if os.path.lexists(path) or name in (".", ".."):
            continue
        kind = random.choice(("file", "file", "folder", "folder", "link"))
        if kind == "file":
            path.write_bytes(b"x" * random.randint(0, 9))
        elif kind == "folder":
            path.mkdir()
            folders.append(path)
        else:
            path.symlink_to(random.choice(folders))

    alike(tmp_path)
