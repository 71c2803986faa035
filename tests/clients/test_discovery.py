"""Where logs are looked for, and that each file is read once however it is reached."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.support import World, claude, jsonl, meta, rollout, tokens, turn
from tokenledger_dagster.clients.claude_code import ClaudeCode
from tokenledger_dagster.clients.codex import Codex
from tokenledger_dagster.clients.logs import LOGS_HOME, agents_environ
from tokenledger_dagster.clients.registry import client_name, clients


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def claude_roots(home: Path, **environ: str) -> list[tuple[str, str]]:
    found = ClaudeCode().roots({"HOME": str(home), **environ})
    return [(root.path.relative_to(home).as_posix(), root.origin) for root in found]


class TestClaudeRoots:
    def test_without_any_folder_there_is_no_root(self, home: Path) -> None:
        assert claude_roots(home) == []

    def test_both_defaults_are_read(self, home: Path) -> None:
        folder(home / ".claude/projects")
        folder(home / ".config/claude/projects")

        assert claude_roots(home) == [(".claude/projects", "default"), (".config/claude/projects", "default")]

    def test_xdg_config_home_moves_the_second_default(self, home: Path) -> None:
        folder(home / "xdg/claude/projects")

        assert claude_roots(home, XDG_CONFIG_HOME=str(home / "xdg")) == [("xdg/claude/projects", "default")]

    def test_an_override_replaces_the_defaults(self, home: Path) -> None:
        folder(home / ".claude/projects")
        folder(home / "other/projects")

        assert claude_roots(home, CLAUDE_CONFIG_DIR=str(home / "other")) == [("other/projects", "CLAUDE_CONFIG_DIR")]

    def test_an_override_may_be_the_projects_folder_itself(self, home: Path) -> None:
        folder(home / "other/projects")

        assert claude_roots(home, CLAUDE_CONFIG_DIR=str(home / "other/projects")) == [
            ("other/projects", "CLAUDE_CONFIG_DIR")
        ]

    def test_an_override_may_be_a_list_and_missing_parts_are_passed_over(self, home: Path) -> None:
        folder(home / "one/projects")
        folder(home / "two/projects")
        value = f"{home / 'one'} , ~/two,{home / 'three'}"

        assert [path for path, _ in claude_roots(home, CLAUDE_CONFIG_DIR=value)] == ["one/projects", "two/projects"]

    def test_a_folder_named_twice_is_one_root(self, home: Path) -> None:
        folder(home / "one/projects")
        (home / "link").symlink_to(home / "one")

        assert len(claude_roots(home, CLAUDE_CONFIG_DIR=f"{home / 'one'},{home / 'link'}")) == 1

    def test_desktop_stores_are_found(self, home: Path) -> None:
        folder(home / ".config/Claude/local-agent-mode-sessions")

        assert claude_roots(home) == [(".config/Claude/local-agent-mode-sessions", "desktop")]

    def test_only_transcripts_of_a_desktop_store_are_read(self, tmp_path: Path) -> None:
        world = World(tmp_path)
        store = world.home_dir / ".config/Claude/local-agent-mode-sessions/x"
        world.write(store / ".claude/projects/p/s.jsonl", claude("m1", "r1"))
        world.write(store / "audit.jsonl", claude("m2", "r2"))
        world.sync()

        assert len(world.events()) == 1


class TestCodexRoots:
    def roots(self, home: Path, **environ: str) -> list[str]:
        return [root.path.relative_to(home).as_posix() for root in Codex().roots({"HOME": str(home), **environ})]

    def test_sessions_and_the_archive_are_read(self, home: Path) -> None:
        folder(home / ".codex/sessions")
        folder(home / ".codex/archived_sessions")

        assert self.roots(home) == [".codex/sessions", ".codex/archived_sessions"]

    def test_codex_home_replaces_the_default(self, home: Path) -> None:
        folder(home / ".codex/sessions")
        folder(home / "other/sessions")

        assert self.roots(home, CODEX_HOME=str(home / "other")) == ["other/sessions"]

    def test_codex_home_may_be_a_list(self, home: Path) -> None:
        folder(home / "one/sessions")
        folder(home / "two/archived_sessions")

        assert self.roots(home, CODEX_HOME="~/one,~/two") == ["one/sessions", "two/archived_sessions"]


@pytest.mark.parametrize(("variable", "client"), [("CLAUDE_CONFIG_DIR", "claude-code"), ("CODEX_HOME", "codex")])
def test_an_override_that_names_no_folder_is_a_problem_that_names_the_remedy(
    tmp_path: Path, variable: str, client: str
) -> None:
    nowhere = str(tmp_path / "nowhere")
    (problem,) = World(tmp_path, **{variable: nowhere}).sync().problems

    assert f"{variable}={nowhere}" in problem
    assert client in problem
    assert "unset" in problem


def test_a_relative_override_is_the_same_file_from_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, CODEX_HOME="work")
    world.write(tmp_path / "work" / "sessions" / "a.jsonl", meta("a"), turn(), tokens((10, 0, 1)))
    monkeypatch.chdir(tmp_path)
    world.sync()

    assert world.query("SELECT path FROM sources") == [(str(tmp_path / "work" / "sessions" / "a.jsonl"),)]


def test_a_tilde_alone_is_the_home(home: Path) -> None:
    folder(home / "projects")

    assert claude_roots(home, CLAUDE_CONFIG_DIR="~") == [("projects", "CLAUDE_CONFIG_DIR")]


def test_subagents_of_any_depth_are_transcripts_and_side_files_are_not(tmp_path: Path) -> None:
    world = World(tmp_path)
    for number, name in enumerate(("p/s.jsonl", "p/s/old.jsonl", "p/s/subagents/a.jsonl", "p/s/subagents/w/f/b.jsonl")):
        world.claude(claude(f"m{number}"), name=name)
    world.write(world.claude_path("p/s/subagents/a.meta.json"), claude("m9"))
    world.write(world.claude_path("p/sessions-index.json"), claude("m9"))

    assert world.sync().sources.seen == 4
    assert len(world.events()) == 4


def test_a_symlinked_project_is_read_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    path = world.claude(claude())
    (path.parent.parent / "again").symlink_to(path.parent)

    assert world.sync().sources.seen == 1
    assert world.rules() == {}


def test_a_symlink_loop_ends(tmp_path: Path) -> None:
    world = World(tmp_path)
    path = world.claude(claude())
    (path.parent / "loop").symlink_to(path.parent.parent)

    assert world.sync().sources.seen == 1


def test_a_hard_link_is_read_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    path = world.claude(claude())
    os.link(path, path.with_name("linked.jsonl"))

    assert world.sync().sources.seen == 1
    assert world.rules() == {}


def test_a_dangling_symlink_is_passed_over(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.claude(claude()).with_name("gone.jsonl").symlink_to("/nowhere")

    assert world.sync().sources.seen == 1


def test_extra_sources_are_remembered(tmp_path: Path) -> None:
    world = World(tmp_path)
    saved = tmp_path / "saved"
    world.write(saved / "a.jsonl", meta("a"), turn(), tokens((10, 0, 1)))
    world.sync(add_sources=(("codex", str(saved)),))
    world.write(saved / "b.jsonl", meta("b"), turn(), tokens((20, 0, 1), minutes=1))
    world.sync()

    assert [event.session for event in world.events()] == ["a", "b"]


def test_an_extra_source_may_be_a_file(tmp_path: Path) -> None:
    world = World(tmp_path)
    path = world.write(tmp_path / "saved" / "a.log", meta("a"), turn(), tokens((10, 0, 1)))
    world.sync(add_sources=(("codex", str(path)),))

    assert len(world.events()) == 1


def test_an_extra_source_that_went_away_is_a_problem_and_keeps_its_events(tmp_path: Path) -> None:
    world = World(tmp_path)
    path = world.write(tmp_path / "saved" / "a.jsonl", meta("a"), turn(), tokens((10, 0, 1)))
    world.sync(add_sources=(("codex", str(path)),))
    path.unlink()
    summary = world.sync()

    assert len(summary.problems) == 1
    assert summary.sources.missing == 1
    assert len(world.events()) == 1


def test_a_file_reached_by_two_roots_is_read_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    path = world.codex(meta("a"), turn(), tokens((10, 0, 1)), name=rollout("a"))

    assert world.sync(add_sources=(("codex", str(path.parent)),)).sources.seen == 1


def test_only_named_clients_are_read_and_the_others_are_not_missing(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.claude(claude())
    world.codex(meta(), turn(), tokens((10, 0, 1)))
    world.sync()
    summary = world.sync(only=("codex",))

    assert (summary.sources.seen, summary.sources.missing) == (1, 0)


@pytest.mark.parametrize("given", ["claude-code", "claude", "Claude", "anthropic"])
def test_a_client_is_known_by_its_usual_names(given: str) -> None:
    assert client_name(given) == "claude-code"


def test_an_unknown_client_is_none() -> None:
    assert client_name("emacs") is None
    assert set(clients()) >= {"claude-code", "codex"}


def test_unusual_file_names_are_read(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.claude(claude("m1"), name="-home-ada/ünïcode \n.jsonl")
    odd = os.fsencode(world.claude_path("-home-ada/x").parent) + b"/\xff.jsonl"
    with open(odd, "wb") as handle:
        handle.write(jsonl(claude("m2", "r2")))
    world.sync()

    assert len(world.events()) == 2


class TestLandingFolder:
    """What was landed lies in the ledger's own home, which is found without any setting of the client's."""

    def roots(self, **environ: str) -> list[str]:
        return [root.where for root in clients()["cliproxyapi"].roots(environ)]

    def test_it_is_below_the_home_that_the_variable_names(self, tmp_path: Path) -> None:
        landing = folder(tmp_path / "ledger/landing/cliproxyapi")

        assert self.roots(HOME=str(tmp_path), TOKENLEDGER_HOME=str(tmp_path / "ledger")) == [str(landing)]

    def test_the_variable_may_begin_at_the_home_folder_or_hold_a_comma(self, tmp_path: Path) -> None:
        landing = folder(tmp_path / "a,b/landing/cliproxyapi")

        assert self.roots(HOME=str(tmp_path), TOKENLEDGER_HOME="~/a,b") == [str(landing)]

    @pytest.mark.skipif(sys.platform != "linux", reason="each platform has a folder of its own for user data")
    def test_without_it_the_platforms_folder_is_the_home(self, tmp_path: Path) -> None:
        default = folder(tmp_path / ".local/share/tokenledger/landing/cliproxyapi")
        moved = folder(tmp_path / "data/tokenledger/landing/cliproxyapi")

        assert self.roots(HOME=str(tmp_path)) == [str(default)]
        assert self.roots(HOME=str(tmp_path), XDG_DATA_HOME=str(tmp_path / "data")) == [str(moved)]

    def test_where_nothing_was_landed_there_is_nothing_to_tell(self, tmp_path: Path) -> None:
        world = World(tmp_path, TOKENLEDGER_HOME=str(tmp_path / "ledger"))

        assert world.sync().problems == []

    def test_logs_of_another_home_leave_the_ledgers_own_landing(self, tmp_path: Path) -> None:
        landing = folder(tmp_path / "ledger/landing/cliproxyapi")
        environ = {"HOME": str(tmp_path), "TOKENLEDGER_HOME": str(tmp_path / "ledger"), LOGS_HOME: str(tmp_path / "b")}

        assert self.roots(**agents_environ(environ)) == [str(landing)]
