"""Shells complete what the parsers take; each script runs in the shell that it is for."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_process import HEAVY, process
from tokenledger_dagster.cli import completion_shells
from tokenledger_dagster.cli.completion import SHELLS
from tokenledger_dagster.cli.completion_words import Argument, Command, Option, command_tree
from tokenledger_dagster.cli.main import COMMANDS, command_parser
from tokenledger_dagster.clients.registry import clients

SCRIPT = {"bash": completion_shells.bash, "zsh": completion_shells.zsh, "fish": completion_shells.fish}


def needs(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"{shell} is not installed here")


@pytest.fixture(scope="module")
def tree() -> Command:
    return command_tree()


@pytest.fixture(scope="module")
def scripts(tree: Command, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("scripts")
    made = {}
    for shell, write in SCRIPT.items():
        made[shell] = folder / f"{shell}.script"
        made[shell].write_text(write(tree))
    return made


# ------------------------------------------------------------------ what can be said


def test_every_command_is_known_with_its_actions(tree: Command) -> None:
    found = {command.path[0]: {action.path[-1] for action in command.actions} for command in tree.actions}

    assert list(found) == list(COMMANDS)
    assert {"lint", "apply", "reprice"} <= found["pricing"]
    assert found["report"] == set()


def _options_in_help(path: tuple[str, ...]) -> set[str]:
    parser = command_parser(path[0])
    for name in path[1:]:
        (actions,) = parser._subparsers._group_actions if parser._subparsers else []
        parser = actions.choices[name]  # type: ignore[index, call-overload]
    text = parser.format_help().partition("examples:")[0].partition("options:")[2]
    return set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", text, flags=re.MULTILINE))


def test_options_are_those_that_help_shows(tree: Command) -> None:
    for command in tree.every():
        if command.path:
            known = {name for option in command.options for name in option.names if name.startswith("--")}
            assert known == _options_in_help(command.path), command.path


def test_values_of_client_names_stages_files_and_folders() -> None:
    named = {command.path: command for command in command_tree().every()}
    report = {option.names[0]: option for option in named["report",].options}
    run = {option.names[0]: option for option in named["orchestrate",].options}
    patch = named["pricing", "apply"].arguments[0]

    assert report["--client"].values == tuple(clients())
    assert report["--project"].values == "@folders"
    assert run["--skip"].values[:2] == ("sources", "events")
    assert run["--events-out"].values == patch.values == "@files"
    assert (report["--no-sync"].takes_value, report["--since"].takes_value, report["--since"].values) == (
        False,
        True,
        (),
    )


def test_a_name_that_a_shell_would_run_is_no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "tokenledger_dagster.clients.registry.clients",
        lambda: {"acme": None, "$(touch x)": None, "a b": None, "'": None},
    )

    found = {option.names[0]: option for option in command_tree().actions[0].options}

    assert found["--client"].values == ("acme",)


# ------------------------------------------------------------------ bash


def bash(script: Path, line: str, folder: Path) -> list[str]:
    """What bash offers at the end of a line, whose words are cut as readline cuts them."""
    words = re.findall(r"=|[^\s=]+", line) + ([""] if line.endswith(" ") else [])
    code = (
        'set -u; source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))\n'
        "_tokenledger tokenledger; printf '%s\\n' ${COMPREPLY[@]+\"${COMPREPLY[@]}\"}"
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", code, "bash", script, *words], cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return [word for word in done.stdout.splitlines() if word]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "one *.json").touch()
    (tmp_path / "$(touch no)").touch()
    (tmp_path / "sub").mkdir()
    return tmp_path


LINES = [
    ("tokenledger rep", ["report"]),
    ("tokenledger report mo", ["monthly", "model"]),
    ("tokenledger report daily mo", []),
    ("tokenledger report --format ", ["table", "json", "csv", "markdown"]),
    ("tokenledger report --format=", ["table", "json", "csv", "markdown"]),
    ("tokenledger report --format=ma", ["markdown"]),
    ("tokenledger report --no-s", ["--no-sync"]),
    ("tokenledger report --since 2026-02-01 week", ["weekly"]),
    ("tokenledger report --since=2026-02-01 week", ["weekly"]),
    ("tokenledger report --since ", []),
    ("tokenledger report --client cl", ["claude-code", "cliproxyapi", "cline"]),
    ("tokenledger orchestrate --skip pri", ["pricing"]),
    ("tokenledger pricing re", ["reconcile", "reprice"]),
    ("tokenledger pricing apply --allow", ["--allow-overwrite-model-rates"]),
    ("tokenledger pricing import mo", ["models.dev"]),
    ("tokenledger pricing nonsense --", ["--help"]),
    ("tokenledger ledger pareto --objectives cost+quality+", ["cost+quality+latency"]),
    ("tokenledger completion f", ["fish"]),
    ("tokenledger --v", ["--version"]),
    ("tokenledger nonsense ", []),
]


@needs("bash")
@pytest.mark.parametrize(("line", "offered"), LINES)
def test_bash_offers(scripts: dict[str, Path], folder: Path, line: str, offered: list[str]) -> None:
    assert bash(scripts["bash"], line, folder) == offered


@needs("bash")
def test_bash_offers_files_and_folders_as_they_are_named(scripts: dict[str, Path], folder: Path) -> None:
    script = scripts["bash"]

    assert sorted(bash(script, "tokenledger pricing apply ", folder)) == ["$(touch no)", "one *.json", "sub"]
    assert sorted(bash(script, "tokenledger feeder validate otel first.json o", folder)) == ["one *.json"]
    assert bash(script, "tokenledger ledger validate --folder ", folder) == ["sub"]
    assert not (folder / "no").exists()


@needs("bash")
def test_bash_registers_the_function(scripts: dict[str, Path]) -> None:
    code = f"source {scripts['bash']} && complete -p tokenledger"
    done = subprocess.run(["bash", "--norc", "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "complete -F _tokenledger tokenledger\n"


@needs("bash")
def test_bash_completes_an_option_and_its_value_in_one_word(scripts: dict[str, Path], folder: Path) -> None:
    """Where a user took ``=`` out of COMP_WORDBREAKS."""
    code = (
        f"source {scripts['bash']}; COMP_WORDS=(tokenledger report --format=ma); COMP_CWORD=2; _tokenledger\n"
        'echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "--norc", "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "--format=markdown\n"


# ------------------------------------------------------------------ fish


def fish(script: Path, line: str, folder: Path) -> set[str]:
    environ = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    command = ["fish", "--no-config", "-c", f"source {script}; complete -C '{line}'"]
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return {word.partition("\t")[0].rpartition("=")[2] for word in done.stdout.splitlines()}


@needs("fish")
@pytest.mark.parametrize(("line", "offered"), [one for one in LINES if "nonsense" not in one[0]])
def test_fish_offers(scripts: dict[str, Path], folder: Path, line: str, offered: list[str]) -> None:
    # fish also offers what the words before do not forbid, such as a second kind of report
    assert set(offered) <= fish(scripts["fish"], line, folder)


@needs("fish")
def test_fish_offers_no_options_of_other_commands(scripts: dict[str, Path], folder: Path) -> None:
    assert fish(scripts["fish"], "tokenledger report --write", folder) == set()
    assert fish(scripts["fish"], "tokenledger pricing lint --write", folder) == set()
    assert fish(scripts["fish"], "tokenledger pricing apply --write", folder) == {"--write", "--write-backup"}


# ------------------------------------------------------------------ zsh


@pytest.fixture(scope="module")
def terminal(scripts: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed here")
    opened = Terminal(tmp_path_factory.mktemp("zsh"), scripts["zsh"])
    yield opened
    opened.close()


class Terminal:
    """An interactive zsh without anybody's configuration, at a terminal of its own."""

    def __init__(self, folder: Path, script: Path) -> None:
        import pty

        self.child, self.handle = pty.fork()
        if self.child == 0:
            environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "TERM": "dumb", "LANG": "C.UTF-8"}
            os.chdir(folder)
            os.execvpe("zsh", ["zsh", "-f", "-i"], environ)
        self.say(f"unsetopt zle_bracketed_paste; PS1=; autoload -Uz compinit; compinit -u -D; source {script}\n")
        self.say("print READY\n")
        self.read("READY\r\n")

    def say(self, text: str) -> None:
        os.write(self.handle, text.encode())

    def read(self, until: str, seconds: float = 20) -> str:
        found, end = "", time.monotonic() + seconds
        while until not in found:
            if not select.select([self.handle], [], [], max(end - time.monotonic(), 0))[0]:
                raise AssertionError(f"zsh said {found!r}")
            found += os.read(self.handle, 4096).decode("utf-8", "replace")
        return found

    def completed(self, line: str) -> str:
        """The line as zsh makes it from what was typed and a tab."""
        self.say(f"{line}\t\x01print -r -- '<\x05>'\n")
        return re.findall(r"<(.*?) ?>\r\n", self.read(">\r\n"))[-1]

    def close(self) -> None:
        self.say("\x15exit\n")
        os.close(self.handle)
        os.waitpid(self.child, 0)


@pytest.mark.parametrize(
    ("typed", "made"),
    [
        ("tokenledger rep", "tokenledger report"),
        ("tokenledger report week", "tokenledger report weekly"),
        ("tokenledger report --format mark", "tokenledger report --format markdown"),
        ("tokenledger report --format=mark", "tokenledger report --format=markdown"),
        ("tokenledger pricing rec", "tokenledger pricing reconcile"),
        ("tokenledger pricing import lit", "tokenledger pricing import litellm"),
        ("tokenledger pricing apply --allow", "tokenledger pricing apply --allow-overwrite-model-rates"),
        ("tokenledger orchestrate --skip pri", "tokenledger orchestrate --skip pricing"),
    ],
)
def test_zsh_completes(terminal: Terminal, typed: str, made: str) -> None:
    assert terminal.completed(typed) == made


@needs("zsh")
def test_zsh_takes_every_word_of_the_script(scripts: dict[str, Path]) -> None:
    done = subprocess.run(["zsh", "-n", scripts["zsh"]], capture_output=True, text=True, check=True)

    assert done.stderr == ""


# ------------------------------------------------------------------ texts


def test_texts_of_options_are_quoted_in_every_shell() -> None:
    text = "a [b]: 'c' \\ $(touch no) `d` \"e\""
    option = Option(("--odd",), text, takes_value=True, values=("x",))
    tree = Command((), "", (option,), (), (Command(("do",), text, (option,), (Argument("IT", ("y",), False),)),))
    for shell in SHELLS:
        if shutil.which(shell):
            done = subprocess.run([shell, "-n"], input=SCRIPT[shell](tree), capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (0, "")


# ------------------------------------------------------------------ the command


@pytest.mark.parametrize("shell", SHELLS)
def test_the_command_prints_the_script(scripts: dict[str, Path], shell: str) -> None:
    found = process("completion", shell)

    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout == scripts[shell].read_text()


def test_another_shell_is_a_usage_error() -> None:
    found = process("completion", "tcsh")

    assert found.returncode == 2
    assert "Traceback" not in found.stderr


def test_it_imports_nothing_heavy() -> None:
    code = (
        "import sys; from tokenledger_dagster.cli.main import main; code = main(['completion', 'bash'])\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], code, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stderr == "[] 0\n"
