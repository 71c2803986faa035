SELECT
    client, provider, model,
    CAST(sum(cache_read_tokens) / sum(total_tokens) AS DOUBLE) AS cache_read_share,
    CAST(sum(total_tokens) / sum(event_count) AS DOUBLE) AS tokens_per_request,
    CAST(sum(output_tokens + tool_output_tokens) / nullif(sum(total_tokens - output_tokens - tool_output_tokens), 0)
        AS DOUBLE) AS output_input_ratio,
    -- over what has a price
    CAST(CAST(sum(list_price_usd) AS DOUBLE) * 1000000 / nullif(sum(total_tokens - unpriced_tokens), 0) AS DOUBLE)
        AS list_usd_per_mtok
FROM usage_models
GROUP BY ALL
HAVING sum(event_count) >= 20 AND sum(total_tokens) > 0
ORDER BY ALL
