-- Sums of every UTC month before a time, by client, provider and model, and two sums of hashes of its events, which are
-- the same in any order.  MD5 because its value is the same in every version of DuckDB, which that of hash() is not.
WITH told AS (
    SELECT
        strftime(e.timestamp, '%Y-%m') AS month, e.client, e.provider, e.model, e.total_tokens, e.input_tokens,
        e.output_tokens, e.cache_write_tokens, e.cache_read_tokens, e.tool_input_tokens, e.tool_output_tokens,
        c.list_price_usd, c.effective_cost_usd,
        md5_number(concat(
            e.event_id, '|', epoch_us(e.timestamp), '|', e.client, '|', e.provider, '|', e.model, '|', e.input_tokens, '|',
            e.output_tokens, '|', e.cache_write_tokens, '|', e.cache_read_tokens, '|', e.tool_input_tokens, '|',
            e.tool_output_tokens, '|', coalesce(CAST(c.list_price_usd AS VARCHAR), '-')
        )) AS hashed
    FROM read_parquet({events}) AS e
    LEFT JOIN read_parquet({costs}) AS c ON c.event_id = e.event_id AND c.timestamp < {until}
    WHERE e.timestamp < {until}
)
SELECT
    month, client, provider, model,
    count(*) AS event_count,
    sum(total_tokens) AS total_tokens,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens,
    sum(cache_write_tokens) AS cache_write_tokens,
    sum(cache_read_tokens) AS cache_read_tokens,
    sum(tool_input_tokens) AS tool_input_tokens,
    sum(tool_output_tokens) AS tool_output_tokens,
    count(*) FILTER (list_price_usd IS NULL) AS unpriced_count,
    sum(list_price_usd) AS list_price_usd,
    sum(effective_cost_usd) AS effective_cost_usd,
    sum(CAST(hashed & 18446744073709551615 AS UBIGINT)) AS low_hashes,
    sum(CAST(hashed >> 64 AS UBIGINT)) AS high_hashes
FROM told
GROUP BY month, client, provider, model
ORDER BY month, client, provider, model
