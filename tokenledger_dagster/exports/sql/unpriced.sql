-- events and costs are Parquet files.
SELECT
    e.client, e.provider, e.model, e.model_raw, c.channel, c.requested_context, c.unpriced_reason,
    count(*) AS event_count, sum(e.total_tokens) AS unpriced_tokens,
    min(e.timestamp) AS first_time, max(e.timestamp) AS last_time
FROM read_parquet({costs}) AS c
JOIN read_parquet({events}) AS e USING (event_id)
WHERE c.list_price_usd IS NULL
GROUP BY ALL
