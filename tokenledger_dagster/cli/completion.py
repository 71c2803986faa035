"""``tokenledger completion``: a script by which a shell completes commands, actions, options and their values.

Here: the arguments.  Not here: what can be said (``cli.completion_words``), and the shells' languages
(``cli.completion_shells``).
"""

from __future__ import annotations

import argparse
import sys

from tokenledger_dagster.settings import Settings

SHELLS = ("bash", "zsh", "fish")
EXAMPLES = {
    "completion": """
examples:
  source <(tokenledger completion bash)                                         # this shell alone
  tokenledger completion bash > ~/.local/share/bash-completion/completions/tokenledger
  tokenledger completion zsh > ~/.zfunc/_tokenledger     # before compinit: fpath+=(~/.zfunc)
  tokenledger completion fish > ~/.config/fish/completions/tokenledger.fish
"""
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Whose language the script is in."""
    parser.add_argument("shell", choices=SHELLS, help="the shell that reads the script")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Prints the script."""
    from tokenledger_dagster.cli import completion_shells
    from tokenledger_dagster.cli.completion_words import command_tree

    script = {"bash": completion_shells.bash, "zsh": completion_shells.zsh, "fish": completion_shells.fish}
    sys.stdout.write(script[args.shell](command_tree()))
    return 0
