"""The gate of speed: an op for a job of its own, since it measures for most of a minute and makes no table.

Here: the op. Not here: what is measured and how it is judged (`tokenledger_dagster/bench`).
"""

import dagster as dg

from resources import LedgerHome


@dg.op(
    name="perf_gate",
    description="Measures reading of made-up logs against a reference, and fails where it is slower than the baseline.",
)
def perf_gate(context: dg.OpExecutionContext, home: LedgerHome) -> None:
    """The result and the verdict are kept in the home, where the pipeline summary finds them."""
    from tokenledger_dagster.bench.gate import gate_options, run_gate
    from tokenledger_dagster.bench.policy import load_policy

    verdict, path = run_gate(home.open(), gate_options(load_policy().gate), context.log.info)
    context.add_output_metadata(
        {"passed": verdict.passed, "notes": "; ".join(verdict.notes), "path": dg.MetadataValue.path(str(path))}
    )
    if not verdict.passed:
        raise dg.Failure(description="; ".join(verdict.failures[:5]), allow_retries=False)
