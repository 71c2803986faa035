-- Tokens by class, and requests by provider and model, of everything booked; events is a Parquet file.
SELECT
    provider,
    model,
    sum(input_tokens) AS input,
    sum(cache_write_tokens) AS cache_write,
    sum(cache_read_tokens) AS cache_read,
    sum(output_tokens) AS output
FROM read_parquet({events})
WHERE total_tokens > 0 AND model NOT IN ('<synthetic>', 'unknown')
GROUP BY provider, model
ORDER BY provider, model
