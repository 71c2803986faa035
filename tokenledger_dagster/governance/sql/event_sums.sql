-- Sums of single events by whatever tells their usage apart, times aside; relation holds events with list_nano.
SELECT
    client, provider, maker, model, session_id, project,
    {counters},
    sum(input_tokens + output_tokens + cache_write_tokens + cache_read_tokens + tool_input_tokens + tool_output_tokens)
        AS total_tokens,
    coalesce(sum(list_nano), 0) AS list_price_usd,
    count(*) FILTER (list_nano IS NULL) AS unpriced_count,
    count(*) AS event_count,
    min(timestamp) AS first_time,
    max(timestamp) AS last_time
FROM ({relation})
GROUP BY ALL
