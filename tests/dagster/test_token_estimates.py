"""The asset `inference/token_estimates`: off, on, and unchanged."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from tests.inference.uncounted_logs import ANSWER, PROMPT, said
from tests.support import World, meta
from tokenledger_dagster.inference.estimates.table import table_path


def made(home: Path) -> tuple[str, dict[str, object]]:
    """Data version and metadata of one materialisation."""
    from assets.inference import token_estimates
    from resources import LedgerHome

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [token_estimates],
            resources={"home": LedgerHome(root=str(home), timezone="UTC")},
            instance=instance,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
    (one,) = result.asset_materializations_for_node("inference__token_estimates")
    return (one.tags or {})["dagster/data_version"], {name: entry.value for name, entry in one.metadata.items()}


def test_it_is_empty_while_prompts_are_not_read_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path)
    world.codex(meta("old"), said("user", PROMPT), said("assistant", ANSWER))
    world.sync()

    version, told = made(world.ledger.root)
    assert version == "off"
    assert (told["state"], told["why"], told["dagster/row_count"]) == ("off", "prompts are not read", 0)
    assert "TOKENLEDGER_FEATURE_INFERENCE_PROMPTS=true" in str(told["turn_on"])
    assert not table_path(world.ledger).exists()

    monkeypatch.setenv("TOKENLEDGER_FEATURE_INFERENCE_PROMPTS", "true")
    version, told = made(world.ledger.root)
    assert (told["state"], told["dagster/row_count"], told["cache_hit_ratio"]) == ("on", 1, 0.0)
    assert (told["estimated_prompt_tokens"], told["estimated_answer_tokens"]) == (10, 16)
    again, told = made(world.ledger.root)
    assert (again, told["cache_hit_ratio"]) == (version, 1.0)

    monkeypatch.delenv("TOKENLEDGER_FEATURE_INFERENCE_PROMPTS")
    assert made(world.ledger.root)[0] == "off"
    assert not table_path(world.ledger).exists()
