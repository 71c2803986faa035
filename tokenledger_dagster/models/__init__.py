"""Model identity: from the string a log wrote to the canonical id the ledger books under.

What a model costs belongs to `tokenledger_dagster.pricing`; what a log line means belongs to the adapters.
"""
