"""Prices: what a request costs at list price, and what it costs the person who pays.

Rates: `rates.py` (rows, arithmetic), `rate_table.py` (which row holds), `book*.py` (the user's pricing book),
`lists/` (imported price lists), `generate*.py` (the built-in list), `snapshots.py` (all of them under one id).
Requests: `context.py`, `events.py`, `resolve.py` with `price_events.sql`.
Governing: `lint*.py`, `audit.py`, `coverage.py`, `patch.py`, `apply.py`, `reconcile.py`, `reprice.py`.
Plans: `plan*.py`, `periods.py`, `economics.py`.
"""
