-- The events of one UTC month as a lock keeps them: enough to say later what each of them was.
SELECT
    e.event_id, e.timestamp, e.client, e.provider, e.model, e.input_tokens, e.output_tokens, e.cache_write_tokens,
    e.cache_read_tokens, e.tool_input_tokens, e.tool_output_tokens, e.total_tokens, c.list_price_usd,
    left(e.record_sha256, 16) AS record
FROM read_parquet({events}) AS e
LEFT JOIN read_parquet({costs}) AS c
    ON c.event_id = e.event_id AND c.timestamp >= {since} AND c.timestamp < {until}
WHERE e.timestamp >= {since} AND e.timestamp < {until}
