-- DuckDB: the requests that rules look at, in order of time, with what decides their price and what they cost.
-- `events` is that of exports/sql/price_inputs.sql; the others are Parquet files.  Up to an hour after the period too
-- (in_period is false there), so that the end of an hour can be told.  Estimates are left out.
CREATE OR REPLACE TEMP TABLE requests AS
SELECT
    row_number() OVER (ORDER BY p.timestamp, p.event_id) AS request_no,
    p.event_id, p.timestamp, p.timestamp < {until} AS in_period,
    p.client, p.billed_by AS provider, e.maker, p.canonical_model AS model, e.session_id, coalesce(e.billing_kind, '') AS billing_kind,
    p.provider AS lookup_provider, p.channel, p.model AS rate_model, p.requested_context, p.plain_context, p.bucket,
    p.is_sum, p.input_tokens, p.cache_read_tokens, p.cache_write_5m_tokens, p.cache_write_1h_tokens, p.output_tokens,
    p.tool_input_tokens, p.tool_output_tokens, p.total_tokens,
    p.input_tokens + p.cache_read_tokens + p.cache_write_5m_tokens + p.cache_write_1h_tokens AS prompt_tokens,
    CAST(CAST(c.list_price_usd AS DECIMAL(38, 9)) * 1000000000 AS HUGEINT) AS list_nano,
    CAST(coalesce(CAST(c.variable_cost_usd AS DECIMAL(38, 9)), 0) * 1000000000 AS HUGEINT) AS variable_nano,
    c.subscription, coalesce(c.unpriced_reason, '') AS unpriced_reason
FROM temp.events AS p
JOIN read_parquet({costs}) AS c USING (event_id)
JOIN read_parquet({events}) AS e USING (event_id)
WHERE p.timestamp >= {since} AND p.timestamp < {until} + INTERVAL 1 HOUR
    AND e.timestamp >= {since} AND e.timestamp < {until} + INTERVAL 1 HOUR
    AND c.timestamp >= {since} AND c.timestamp < {until} + INTERVAL 1 HOUR
    AND NOT e.is_estimated
