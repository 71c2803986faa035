"""Embeddings on this machine and what they are good for: stage `inference`.

Here: one function per asset, each an estimate or what estimates are made with; nothing here is booked, priced or
published with figures. Not here: any model, backend or use (`tokenledger_dagster/inference`).

Where inference is off every asset still materialises: empty, with `state`, `why` and `turn_on`, at the cost of a look
at the model's folder.
"""

import time
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.common import OWNERS, figures, key, on_change
from resources import Engine, Inference, LedgerHome, Metrics

if TYPE_CHECKING:
    from tokenledger_dagster.inference.switch import Standing

# the model's folder is a place that nothing upstream speaks for
LOOKED_AT_DAILY = on_change() | dg.AutomationCondition.cron_tick_passed("@daily")
STAGE: dict[str, Any] = {"group_name": "inference", "owners": OWNERS, "automation_condition": LOOKED_AT_DAILY}
OFF = "off"
"""The data version of everything that inference did not make."""


def off_result(context: dg.AssetExecutionContext, standing: "Standing", started: float) -> dg.MaterializeResult:
    """What a step that began at `started` (`time.perf_counter`) gives while inference is off: nothing, and why."""
    context.log.info(f"inference is {standing.told}")
    numbers = figures(rows=0, duration_ms=round((time.perf_counter() - started) * 1000))
    told = {"state": OFF, "why": standing.why, "turn_on": standing.remedy}
    return dg.MaterializeResult(data_version=dg.DataVersion(OFF), metadata={**numbers, **told})


@dg.asset(key=["inference", "embedding_model"], kinds={"onnx", "coreml"}, code_version="1", **STAGE)
def embedding_model(context: dg.AssetExecutionContext, home: LedgerHome, inference: Inference) -> dg.MaterializeResult:
    """The embedding model of this home, as `tokenledger models build` made it; equal files have equal versions."""
    started, standing = time.perf_counter(), inference.standing(home)
    if not standing.on or standing.model is None:
        return off_result(context, standing, started)
    from tokenledger_dagster.inference.manifest import digest_of, read_manifest
    from tokenledger_dagster.inference.model_store import folder_bytes

    manifest = read_manifest(standing.model)
    numbers = figures(rows=len(manifest.files), duration_ms=round((time.perf_counter() - started) * 1000))
    told: dict[str, Any] = {
        "state": "on",
        "model": manifest.model,
        "source": manifest.source,
        "license": manifest.license,
        "dims": manifest.spec.dims,
        "model_sha256": manifest.weights_sha256,
        "bytes": folder_bytes(standing.model.root),
        "requested_backend": inference.requested_backend(home),
        "prompts": "read" if standing.prompts else "not read",
        "path": dg.MetadataValue.path(str(standing.model.root)),
    }
    return dg.MaterializeResult(data_version=dg.DataVersion(digest_of(manifest)), metadata={**numbers, **told})


# the uses, one function each, follow here; each is added to ASSETS


@dg.asset(
    key=["inference", "session_vectors"],
    deps=[key("inference/embedding_model"), key("events/booked")],
    kinds={"parquet"},
    code_version="1",
    **STAGE,
)
def session_vectors(
    context: dg.AssetExecutionContext, home: LedgerHome, inference: Inference, metrics: Metrics
) -> dg.MaterializeResult:
    """What was typed in each session, as vectors for search by meaning; they stay in the lake, without any text."""
    from tokenledger_dagster.inference.prompts import forget_texts
    from tokenledger_dagster.inference.session_vectors import vectors_standing

    started, standing = time.perf_counter(), vectors_standing(inference.standing(home))
    if not standing.on:
        if (told_of := forget_texts(home.open())) is not None:
            context.log.warning(told_of)
        return off_result(context, standing, started)
    from tokenledger_dagster.inference.indexing import index_home

    with inference.embedder(home, metrics) as embedder:
        made = index_home(home.open(), home.environ, standing, embedder, context.log.info)
    for problem in made.problems:
        context.log.warning(problem)
    numbers = figures(rows=made.vectors, duration_ms=round((time.perf_counter() - started) * 1000))
    told: dict[str, Any] = {"state": "on", "path": dg.MetadataValue.path(made.path), **made.counts}
    return dg.MaterializeResult(data_version=dg.DataVersion(made.digest), metadata={**numbers, **told})


@dg.asset(
    key=["inference", "token_estimates"],
    deps=[key("events/booked")],
    kinds={"parquet"},
    code_version="1",
    **STAGE,
)
def token_estimates(context: dg.AssetExecutionContext, home: LedgerHome) -> dg.MaterializeResult:
    """Sessions whose log has text but no counts, with estimated tokens; they are never booked and never priced."""
    from tokenledger_dagster.inference.estimates.standing import estimates_standing, forget

    started, place = time.perf_counter(), home.open()
    standing = estimates_standing(place, home.settings)
    if not standing.on:
        forget(place)
        return off_result(context, standing, started)
    from tokenledger_dagster.inference.estimates.building import build
    from tokenledger_dagster.inference.estimates.table import table_path

    made = build(place)
    for problem in made.problems:
        context.log.warning(problem)
    numbers = figures(rows=made.row_count, duration_ms=made.duration_ms, hits=float(made.cache_hit))
    told: dict[str, Any] = {
        "state": "on",
        "is_estimate": True,
        "estimated_prompt_tokens": made.prompt_tokens,
        "estimated_answer_tokens": made.answer_tokens,
        "samples": dg.MetadataValue.json(made.samples),
        "path": dg.MetadataValue.path(str(table_path(place))),
    }
    return dg.MaterializeResult(data_version=dg.DataVersion(made.digest), metadata={**numbers, **told})


@dg.asset(
    key=["inference", "session_activity"],
    deps=[key("inference/session_vectors"), key("events/booked")],
    kinds={"parquet"},
    code_version="1",
    **STAGE,
)
def session_activity(
    context: dg.AssetExecutionContext, home: LedgerHome, inference: Inference, metrics: Metrics
) -> dg.MaterializeResult:
    """What each session was about, guessed from the vector of its first words; where that is not clear, nothing."""
    from tokenledger_dagster.inference import activity_costs, session_activity

    started, standing, place = time.perf_counter(), inference.standing(home), home.open()
    if not standing.on or standing.model is None:
        session_activity.forget(place)
        return off_result(context, standing, started)
    from tokenledger_dagster.inference.manifest import read_manifest

    model = read_manifest(standing.model).weights_sha256
    made = session_activity.write_activity(place, lambda: inference.embedder(home, metrics), model)
    costs = activity_costs.all_activity_costs(place, home.zone, session_activity.activities(place))
    summary = made.summary
    numbers = figures(rows=summary.sessions, duration_ms=made.duration_ms, hits=float(not made.is_new))
    told: dict[str, Any] = {"state": "on", "is_estimate": True, "guessed": summary.guessed, **summary.abstained}
    chart = "" if costs is None else activity_costs.activity_markdown(costs)
    told |= {
        "chart": dg.MetadataValue.md(chart),
        "path": dg.MetadataValue.path(str(session_activity.table_path(place))),
    }
    return dg.MaterializeResult(data_version=dg.DataVersion(summary.digest), metadata={**numbers, **told})


@dg.asset(
    key=["inference", "mapping_suggestions"],
    deps=[key("events/booked"), key("pricing/price_list")],
    kinds={"json"},
    code_version="1",
    **STAGE,
)
def mapping_suggestions(
    home: LedgerHome, engine: Engine, inference: Inference, metrics: Metrics
) -> dg.MaterializeResult:
    """Names in the logs that no rule explains, and what they may mean: for a person to decide, never priced."""
    from tokenledger_dagster.inference.mapping_suggestions import asked_of, review_path, write_review

    asked, place = asked_of(inference.standing(home), lambda: inference.embedder(home, metrics)), home.open()
    with engine.connect() as connection:
        made = write_review(place, connection, asked)
    numbers = figures(rows=made.review.names_total, duration_ms=made.duration_ms, hits=float(not made.is_new))
    told: dict[str, Any] = {
        "is_estimate": True,
        "suggestions": sum(len(one.suggestions) for one in made.review.names),
        "embedding": made.review.embedding,
        "path": dg.MetadataValue.path(str(review_path(place))),
    }
    return dg.MaterializeResult(data_version=dg.DataVersion(made.digest), metadata={**numbers, **told})


ASSETS = [embedding_model, session_vectors, token_estimates, session_activity, mapping_suggestions]
