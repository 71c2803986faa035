"""Completion scripts for bash, zsh and fish.

Here: three shells' ways to say what `cli.completion_words` found.  Not here: what can be said.  The scripts call
nothing of TokenLedger, so that a key press never waits for Python.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tokenledger_dagster.cli.completion_words import FILES, FOLDERS, Argument, Command, Option


def bash(tree: Command) -> str:
    """For bash 3.2, which macOS has, and later; `--option=value` too, which bash hands over in three words."""
    return _BASH.replace("@VALUES@\n", "".join(_bash_values(tree))).replace("@OPTIONS@\n", "".join(_bash_options(tree)))


def zsh(tree: Command) -> str:
    """For zsh's own completion system: as `_tokenledger` on the `fpath`, or sourced."""
    functions = "".join(_zsh_function(command) for command in tree.every())
    return _ZSH.replace("@FUNCTIONS@\n", functions)


def fish(tree: Command) -> str:
    """For fish."""
    return _FISH + "".join(line for command in tree.every() for line in _fish_lines(command))


# -------------------------------------------------------------------- bash

_BASH = """\
# Completion of tokenledger for bash, made by `tokenledger completion bash`.

# what follows in $1 (a command with its actions) at $2 (an option, or the number of an argument); false: takes nothing
_tokenledger_values() {
  values=
  case "$1 $2" in
@VALUES@
    *) return 1 ;;
  esac
}

_tokenledger_options() {
  case "$1" in
@OPTIONS@
    *) options= ;;
  esac
}

_tokenledger() {
  local path='' place=0 option='' values options word line i current="${COMP_WORDS[COMP_CWORD]}" before=''
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="${COMP_WORDS[i]}"
    if [[ $word == '=' ]]; then
      continue
    elif [[ -n $option ]]; then
      option=''
    elif [[ $word == -* ]]; then
      if [[ $word != *=* ]] && _tokenledger_values "$path" "$word"; then option="$word"; fi
    elif _tokenledger_values "$path" action && [[ " $values " == *" $word "* ]]; then
      path="${path:+$path }$word"
    else
      place=$((place + 1))
    fi
  done
  COMPREPLY=()
  if [[ $current == '=' ]]; then
    current=''
  elif [[ -z $option && $current == -*=* ]]; then
    option="${current%%=*}" before="${current%%=*}=" current="${current#*=}"
  fi
  if [[ -n $option ]]; then
    _tokenledger_values "$path" "$option"
  elif [[ $current == -* ]]; then
    _tokenledger_options "$path"
    values="$options"
  elif ! _tokenledger_values "$path" action; then
    _tokenledger_values "$path" "$place" || _tokenledger_values "$path" each
  elif ((place > 0)); then
    values=''
  fi
  local how=(-W "$values")
  case "$values" in
    @files) how=(-f) ;;
    @folders) how=(-d) ;;
  esac
  if [[ $values == @* ]]; then compopt -o filenames 2>/dev/null; fi
  while IFS= read -r line; do
    COMPREPLY+=("$before$line")
  done < <(compgen "${how[@]}" -- "$current")
}

complete -F _tokenledger tokenledger
"""


def _bash_values(tree: Command) -> Iterator[str]:
    for command in tree.every():
        path = " ".join(command.path)
        if command.actions:
            yield f"    '{path} action') values='{_names(command)}' ;;\n"
        for option in command.options:
            if option.takes_value:
                patterns = "|".join(f"'{path} {name}'" for name in option.names)
                yield f"    {patterns}) values='{_told(option)}' ;;\n"
        for number, argument in enumerate(command.arguments):
            place = "each" if argument.is_repeated else str(number)
            yield f"    '{path} {place}') values='{_told(argument)}' ;;\n"


def _bash_options(tree: Command) -> Iterator[str]:
    for command in tree.every():
        names = " ".join(name for option in command.options for name in option.names)
        yield f"    '{' '.join(command.path)}') options='{names}' ;;\n"


def _names(command: Command) -> str:
    return " ".join(action.path[-1] for action in command.actions)


def _told(one: Option | Argument) -> str:
    return one.values if isinstance(one.values, str) else " ".join(one.values)


# -------------------------------------------------------------------- zsh

_ZSH = """\
#compdef tokenledger
# Completion of tokenledger for zsh, made by `tokenledger completion zsh`.

@FUNCTIONS@
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
  _tokenledger "$@"
else
  compdef _tokenledger tokenledger
fi
"""


def _zsh_function(command: Command) -> str:
    name = "_".join(("_tokenledger", *command.path)).replace("-", "_")
    specs = [spec for option in command.options for spec in _zsh_option(option)]
    if not command.actions:
        for number, argument in enumerate(command.arguments, 1):
            place = "*" if argument.is_repeated else str(number)
            specs.append(f"'{place}:{_zsh_text(argument.name)}:{_zsh_action(argument)}'")
        return f"{name}() {{\n  _arguments \\\n    {_joined(specs)}\n}}\n\n"
    specs += ["'1:command:->command'", "'*::argument:->argument'"]
    listed = [f"'{action.path[-1]}:{_zsh_text(action.about)}'" for action in command.actions]
    cases = "".join(
        f"        {action.path[-1]}) {'_'.join((name, action.path[-1])).replace('-', '_')} ;;\n"
        for action in command.actions
    )
    return (
        f"{name}() {{\n  local curcontext=$curcontext state line\n  local -a commands\n"
        f"  _arguments -C \\\n    {_joined(specs)} && return\n"
        f"  case $state in\n    command)\n      commands=(\n        {_lines(listed)}\n      )\n"
        f"      _describe command commands\n      ;;\n    argument)\n      case $words[1] in\n{cases}      esac\n"
        "      ;;\n  esac\n}\n\n"
    )


def _joined(specs: list[str]) -> str:
    return " \\\n    ".join(specs)


def _lines(items: list[str]) -> str:
    return "\n        ".join(items)


def _zsh_option(option: Option) -> Iterator[str]:
    about = _zsh_text(option.about)
    for name in option.names:
        if not option.takes_value:
            yield f"'*{name}[{about}]'"
        else:
            # a long option takes its value after a blank or after "="
            name += "=" if name.startswith("--") else ""
            yield f"'*{name}[{about}]:value:{_zsh_action(option)}'"


def _zsh_action(one: Option | Argument) -> str:
    if one.values in (FILES, FOLDERS):
        return "_files" if one.values == FILES else "_files -/"
    return f"({_told(one)})" if one.values else " "


def _zsh_text(text: str) -> str:
    """A text within single quotes, where brackets and colons mean something to ``_arguments``."""
    return re.sub(r"([\\\[\]:])", r"\\\1", text).replace("'", "'\\''")


# -------------------------------------------------------------------- fish

_FISH = """\
# Completion of tokenledger for fish, made by `tokenledger completion fish`.

# whether the words so far begin with these and, where the first one is "only", go on with no further command
function __tokenledger_at
    set -l words (commandline -opc)[2..-1]
    if test "$argv[1]" = only
        set -e argv[1]
        test (count (string match -v -- '-*' $words)) -eq (count $argv); or return 1
    end
    for number in (seq (count $argv))
        test "$words[$number]" = "$argv[$number]"; or return 1
    end
    return 0
end

complete -c tokenledger -f
"""


def _fish_lines(command: Command) -> Iterator[str]:
    below = " ".join(command.path)
    here = f"complete -c tokenledger -n '__tokenledger_at {'only ' if command.actions else ''}{below}'"
    for action in command.actions:
        yield f"{here} -a {action.path[-1]} -d {_fish_text(action.about)}\n"
    for argument in command.arguments:
        yield f"{here}{_fish_values(argument)}\n"
    for option in command.options:
        names = "".join(f" -l {name[2:]}" if name.startswith("--") else f" -s {name[1:]}" for name in option.names)
        takes = f" -r{_fish_values(option)}" if option.takes_value else ""
        yield f"{here}{names}{takes} -d {_fish_text(option.about)}\n"


def _fish_values(one: Option | Argument) -> str:
    if one.values in (FILES, FOLDERS):
        return " -F" if one.values == FILES else " -a '(__fish_complete_directories)'"
    return f" -a '{_told(one)}'" if one.values else ""


def _fish_text(text: str) -> str:
    """A text in single quotes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
