"""Checks of what is published: the analyst's database, the UI snapshot, the list of runs.

Here: which artifacts are inspected together. Not here: what must hold of them.
"""

from checks.common import invariant_check

GROUPS = {
    "run_list_checks": ("runs",),
    "warehouse_checks": ("warehouse",),
    "ui_snapshot_checks": ("ui_snapshot",),
}
CHECKS = [invariant_check(name, tables) for name, tables in GROUPS.items()]
