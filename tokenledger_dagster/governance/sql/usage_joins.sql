-- Providers and models with usage that the ledger has not exactly one row to join with; Parquet files.
SELECT used.provider, used.model, count(ledger.ledger_row_id) AS row_count, any_value(used.events) AS events
FROM (
    SELECT provider, model, count(*) AS events
    FROM read_parquet({events})
    WHERE total_tokens > 0 AND model NOT IN ('<synthetic>', 'unknown')
    GROUP BY provider, model
) AS used
LEFT JOIN read_parquet({ledger}) AS ledger
       ON ledger.is_canonical
      AND ledger.inferred_provider = used.provider
      AND ledger.canonical_model_guess = used.model
GROUP BY used.provider, used.model
HAVING count(ledger.ledger_row_id) <> 1
ORDER BY used.provider, used.model
