"""What a command line can say, read from the parsers that read it.

Here: commands, actions, options and the values that they take.  Not here: any shell's language
(``cli.completion_shells``).  A value that a parser does not list (a file, a client's name) is told by its metavar.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

FILES = "@files"
"""Stands for any file, instead of words."""
FOLDERS = "@folders"

_FILES = frozenset(("FILE", "PATH", "PATCH", "PATH|URL"))
_FOLDERS = frozenset(("DIR", "FOLDER"))
_Named = dict[str, tuple[str, ...] | str]
_WORD = re.compile(r"[\w.+@%/-]+")
"""What a shell takes as it stands; names of other packages' clients may be anything."""


@dataclass(frozen=True)
class Option:
    """One option under all its names."""

    names: tuple[str, ...]
    about: str
    takes_value: bool
    values: tuple[str, ...] | str = ()
    """Words, `FILES` or `FOLDERS`; nothing where only the user knows."""


@dataclass(frozen=True)
class Argument:
    """A value by its place."""

    name: str
    values: tuple[str, ...] | str
    is_repeated: bool


@dataclass(frozen=True)
class Command:
    """A command or an action; `path` is how it is called, `tokenledger` left out."""

    path: tuple[str, ...]
    about: str
    options: tuple[Option, ...] = ()
    arguments: tuple[Argument, ...] = ()
    actions: tuple[Command, ...] = field(default=())

    def every(self) -> Iterator[Command]:
        """This one and all below it."""
        yield self
        for action in self.actions:
            yield from action.every()


def command_tree() -> Command:
    """All commands, as actions of a nameless one."""
    from tokenledger_dagster.cli.main import COMMANDS, command_parser

    named = _named_values()
    version = Option(("--version", "-V"), "print the version", takes_value=False)
    read = [_command((name,), about, command_parser(name), named) for name, (_, about) in COMMANDS.items()]
    return Command((), "", (_HELP, version), (), tuple(read))


_HELP = Option(("--help", "-h"), "show options and examples", takes_value=False)


def _named_values() -> _Named:
    """Values of options that the program checks by itself, by destination."""
    from tokenledger_dagster.cli.orchestrate import STAGES
    from tokenledger_dagster.clients.registry import clients

    names = tuple(clients())
    return {"client": names, "providers": names, "skip": STAGES, "project": FOLDERS}


def _command(path: tuple[str, ...], about: str, parser: argparse.ArgumentParser, named: _Named) -> Command:
    options = [_HELP]
    arguments: list[Argument] = []
    actions: list[Command] = []
    for one in parser._actions:
        if isinstance(one, argparse._SubParsersAction):
            told = {choice.dest: choice.help or "" for choice in one._choices_actions}
            actions = [_command((*path, name), told.get(name, ""), sub, named) for name, sub in one.choices.items()]
        elif isinstance(one, argparse._HelpAction) or one.help == argparse.SUPPRESS:
            continue
        elif one.option_strings:
            takes = one.nargs != 0
            values = _values(one, named) if takes else ()
            options.append(Option(tuple(one.option_strings), _plain(one.help), takes, values))
        else:
            arguments.append(Argument(_name(one), _values(one, named), one.nargs in ("*", "+")))
    return Command(path, _plain(about), tuple(options), tuple(arguments), tuple(actions))


def _values(one: argparse.Action, named: _Named) -> tuple[str, ...] | str:
    listed = tuple(map(str, one.choices)) if one.choices is not None else named.get(one.dest, ())
    if isinstance(listed, str):
        return listed
    if listed:
        return tuple(word for word in listed if _WORD.fullmatch(word))
    return FILES if one.metavar in _FILES else FOLDERS if one.metavar in _FOLDERS else ()


def _name(one: argparse.Action) -> str:
    return one.metavar if isinstance(one.metavar, str) else one.dest


def _plain(text: str | None) -> str:
    """One line of a help text, `%%` as argparse shows it."""
    return " ".join((text or "").split()).replace("%%", "%")
