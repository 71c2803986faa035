"""The asset graph is what `asset_graph.json` says, so that a review sees every change of it."""

from __future__ import annotations

import difflib
import json
import os
from pathlib import Path

import dagster as dg

from tokenledger_dagster.definitions import defs

SNAPSHOT = Path(__file__).with_name("asset_graph.json")
STAGES = ("sources", "events", "pricing", "usage", "reconcile", "ledger", "inference", "exports")


def graph() -> dict[str, object]:
    resolved = defs.resolve_asset_graph()
    return {
        node.key.to_user_string(): {
            "group": node.group_name,
            "deps": sorted(key.to_user_string() for key in node.parent_keys),
            "kinds": sorted(node.kinds or ()),
            "checks": {
                check.name: "blocks" if resolved.get_check_spec(check).blocking else "tells"
                for check in sorted(resolved.get_check_keys_for_assets({node.key}))
            },
        }
        for node in sorted(resolved.asset_nodes, key=lambda node: (STAGES.index(node.group_name or ""), node.key))
    }


def test_graph_is_the_committed_one() -> None:
    found = json.dumps(graph(), indent=1).splitlines()
    if os.environ.get("UPDATE_SNAPSHOTS"):
        SNAPSHOT.write_text("\n".join(found) + "\n", encoding="utf-8")
    kept = SNAPSHOT.read_text(encoding="utf-8").splitlines()

    diff = "\n".join(difflib.unified_diff(kept, found, "committed", "found", lineterm="", n=4))
    assert not diff, f"the asset graph changed; if that is meant: UPDATE_SNAPSHOTS=1 pytest {__file__}\n{diff}"


def test_lineage_reads_from_left_to_right() -> None:
    resolved = defs.resolve_asset_graph()
    backwards = [
        (parent.to_user_string(), node.key.to_user_string())
        for node in resolved.asset_nodes
        for parent in node.parent_keys
        if STAGES.index(parent.path[0]) > STAGES.index(node.key.path[0])
    ]

    assert backwards == []


def test_every_asset_is_in_the_group_of_its_stage_and_says_what_it_is() -> None:
    for node in defs.resolve_asset_graph().asset_nodes:
        assert node.group_name == node.key.path[0]
        assert node.description
        assert node.is_observable or list(node.owners) == ["team:ledger"]


def test_every_check_says_what_a_breach_means() -> None:
    resolved = defs.resolve_asset_graph()

    assert [key.name for key in resolved.asset_check_keys if not resolved.get_check_spec(key).description] == []


def test_no_step_takes_a_slot_that_outlives_its_process() -> None:
    """A pool's slot is held by the run and not by its process: a killed run would keep every later one waiting."""
    made = [one for one in defs.assets or () if isinstance(one, dg.AssetsDefinition)]
    assert len(made) > 10
    assert [one.key for one in made if one.op.pool] == []
