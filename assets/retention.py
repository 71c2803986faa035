"""Removing what a home no longer needs: an op for a job of its own, so that no run of everything removes a file.

Here: the op. Not here: what goes and why (`tokenledger_dagster/governance/retention`), how much of each kind is left
(`config/default.yaml`).
"""

import dagster as dg

from resources import LedgerHome


class RetentionConfig(dg.Config):
    """What the op is asked to do."""

    apply: bool = False
    """Remove what is listed; otherwise it is only told."""


@dg.op(
    name="retain",
    description="Lists old runs, reconciliations, bench results and kept answers; removes them where `apply` is set.",
)
def retain(context: dg.OpExecutionContext, config: RetentionConfig, home: LedgerHome) -> None:
    """Fails where something that goes could not be removed."""
    from tokenledger_dagster.governance import retention

    report = retention.retain(home.open(), retention.rules_of(home.settings), apply=config.apply)
    removed = sum(one.is_removed for one in report.removals)
    for one in report.removals:
        context.log.info(f"{one.path}: {one.reason}")
    context.add_output_metadata(
        {
            "going": len(report.removals),
            "removed": removed,
            "bytes": sum(one.bytes for one in report.removals),
            "left": len(report.left),
        }
    )
    if report.problems:
        raise dg.Failure(description="; ".join(report.problems[:5]), allow_retries=False)
