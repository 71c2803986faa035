"""Checks that guard the ledger: invariants, contracts, and the state of a home.

Here: pure functions that say what holds and what does not.  Not here: how an orchestrator runs them (``checks``).
"""
