"""Whether token estimates are made.

Here: the switch, at the cost of a look. Not here: making them (`building`).
"""

from __future__ import annotations

from tokenledger_dagster.home import Home
from tokenledger_dagster.inference.estimates.table import about_path, table_path
from tokenledger_dagster.inference.switch import SWITCH_ON, Standing, standing
from tokenledger_dagster.settings import Settings

__all__ = ["estimates_standing", "forget"]

PROMPTS_ON = "set `inference.prompts: true` under `features` or TOKENLEDGER_FEATURE_INFERENCE_PROMPTS=true"


def estimates_standing(home: Home, settings: Settings) -> Standing:
    """Whether token estimates are made: inference is not off and prompts are read; no model is needed."""
    found = standing(home, settings)
    if settings.features.inference == "false":
        why, remedy = "the feature `inference` is false", SWITCH_ON
    elif not settings.features.inference_prompts:
        why, remedy = "prompts are not read", PROMPTS_ON
    elif not home.manifest_path.is_file():
        why, remedy = "no log was read yet", "run `tokenledger sync`"
    else:
        why, remedy = "", ""
    return found._replace(on=not why, prompts=not why, why=why, remedy=remedy)


def forget(home: Home) -> None:
    """Removes the table: what was switched off leaves nothing behind that looks current."""
    for path in (table_path(home), about_path(home)):
        path.unlink(missing_ok=True)
