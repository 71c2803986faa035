-- Usage summed by local day, UTC hour, session and model: small, and every usage table is a sum of it.
-- events and costs are Parquet files; `zone_offsets` holds local minus UTC of every quarter hour that has events.
SELECT
    CAST(e.timestamp + to_microseconds(z.offset_us) AS DATE) AS day,
    date_trunc('hour', e.timestamp) AS hour,
    e.client, e.provider, e.session_id, e.project, e.model, e.maker,
    min(e.timestamp) AS first_time,
    max(e.timestamp) AS last_time,
    sum(e.input_tokens) AS input_tokens,
    sum(e.output_tokens) AS output_tokens,
    sum(e.cache_write_tokens) AS cache_write_tokens,
    sum(e.cache_read_tokens) AS cache_read_tokens,
    sum(e.tool_input_tokens) AS tool_input_tokens,
    sum(e.tool_output_tokens) AS tool_output_tokens,
    sum(e.total_tokens) AS total_tokens,
    sum(e.cache_write_1h_tokens) AS cache_write_1h_tokens,
    sum(e.reasoning_tokens) AS reasoning_tokens,
    sum(e.web_search_requests) AS web_search_requests,
    coalesce(sum(c.list_price_usd), 0) AS list_price_usd,
    coalesce(sum(c.effective_cost_usd), 0) AS effective_cost_usd,
    coalesce(sum(e.total_tokens) FILTER (c.list_price_usd IS NULL), 0) AS unpriced_tokens,
    count(*) FILTER (c.list_price_usd IS NULL) AS unpriced_count,
    count(*) AS event_count,
    coalesce(sum(e.total_tokens) FILTER (e.is_estimated), 0) AS estimated_tokens
FROM read_parquet({events}) AS e
JOIN read_parquet({costs}) AS c USING (event_id)
JOIN zone_offsets AS z ON z.slot = time_bucket(INTERVAL 15 MINUTES, e.timestamp)
GROUP BY ALL
