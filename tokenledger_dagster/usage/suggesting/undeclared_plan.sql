-- DuckDB: requests that a plan paid for by their log, while none is declared that carries them.
CREATE OR REPLACE TEMP TABLE found_groups AS
SELECT
    row_number() OVER (ORDER BY client, provider, model) AS group_no, client, provider, model, '' AS detail,
    CAST(sum(variable_nano) * CAST(0.000000001 AS DECIMAL(10, 9)) AS DECIMAL(38, 9)) AS counted_usd
FROM requests
WHERE in_period AND billing_kind = 'included' AND subscription IS NULL
GROUP BY client, provider, model;

INSERT INTO changed
SELECT
    row_number() OVER (), g.group_no, r.request_no, r.channel, r.lookup_provider, r.rate_model, r.requested_context,
    r.bucket, r.is_sum, r.input_tokens, r.cache_read_tokens, r.cache_write_5m_tokens, r.cache_write_1h_tokens,
    r.output_tokens, r.tool_input_tokens, r.tool_output_tokens
FROM requests AS r
JOIN found_groups AS g USING (client, provider, model)
WHERE r.in_period AND r.billing_kind = 'included' AND r.subscription IS NULL
