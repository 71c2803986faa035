"""Checks of the lake and of the public tables, a step per group so that each table is read once.

Here: which tables are inspected together. Tables in one step must not stand on each other: a blocking check holds back
whatever comes after it. Not here: what must hold of them.
"""

from checks.common import invariant_check

GROUPS = {
    # before anything reads the lake
    "lake_checks": ("lake",),
    "booking_checks": ("events",),
    "log_file_checks": ("sources",),
    "duplicate_checks": ("duplicates",),
    "price_list_checks": ("prices",),
    "event_cost_checks": ("event_costs",),
    "unpriced_checks": ("unpriced",),
    "book_checks": ("book",),
    "waiting_price_checks": ("reprice",),
    "subscription_checks": ("subscriptions",),
    "coverage_checks": ("coverage",),
    "reconcile_checks": ("reconcile",),
    "runtime_checks": ("runtime_metrics",),
    "model_ledger_checks": ("unified_model_provider_ledger",),
    "pareto_checks": ("unified_model_provider_pareto",),
    "usage_checks": (
        "usage_daily",
        "usage_weekly",
        "usage_monthly",
        "usage_sessions",
        "usage_projects",
        "usage_models",
        "usage_clients",
        "usage_blocks",
    ),
}
CHECKS = [invariant_check(name, tables) for name, tables in GROUPS.items()]
