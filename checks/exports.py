"""Checks of what is published: the analyst's database, its list of runs, the UI snapshot, and all files together.

Here: which artifacts are inspected together. Not here: what must hold of them.
"""

from checks.common import invariant_check

GROUPS = {
    "warehouse_checks": ("warehouse", "runs"),
    "ui_snapshot_checks": ("ui_snapshot",),
    "artifact_checks": ("artifacts",),
}
CHECKS = [invariant_check(name, tables) for name, tables in GROUPS.items()]
