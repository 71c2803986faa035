-- Tokens without a list price against all tokens, and what they are.
SELECT
    client, model, model_raw, unpriced_reason, event_count, unpriced_tokens,
    (SELECT coalesce(sum(total_tokens), 0) FROM read_parquet({events})) AS all_tokens
FROM read_parquet({unpriced})
ORDER BY unpriced_tokens DESC, client, model
