"""Rules that come with the program, out of a YAML file below `config/`.

Here: reading one as its type, and saying what is wrong with it. Not here: any rules, and files that a person writes
(`plainyaml`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from tokenledger_dagster.errors import TokenLedgerError

__all__ = ["read_rules"]

_Rules = TypeVar("_Rules", bound=msgspec.Struct)


def read_rules(path: Path, kind: type[_Rules]) -> _Rules:
    """The rules of a file.

    Raises:
        TokenLedgerError: it is missing, or says what cannot be meant.
    """
    import yaml

    # the C loader is in every published wheel; a PyYAML built without libyaml has only the other one
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return msgspec.convert(yaml.load(path.read_bytes(), Loader=loader), kind)
    except OSError as error:
        raise TokenLedgerError(f"{path}: {error.strerror or error}; install TokenLedger again") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # msgspec's and Unicode's errors are ValueErrors
        raise TokenLedgerError(f"{path}: {' '.join(str(error).split())[:300]}; mend the file") from error
