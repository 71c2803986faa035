"""The asset graph, left to right: sources, events, pricing, usage, exports; keys are stage/noun, group = stage.

Here: thin Dagster assets, one module per stage, and what they share (`common`, `run_facts`). Not here:
logic (`tokenledger_dagster/`), checks (`checks/`).
"""
