"""Adapters: one module per agent, each a small reader of that agent's log format.

Here: where an agent keeps its logs, how a row becomes a ``UsageRecord``, and which rows are one request.  Not here:
offsets, storage, locking or prices.  A new client implements ``clients.base.Client`` and is listed in
``clients.registry``.
"""
