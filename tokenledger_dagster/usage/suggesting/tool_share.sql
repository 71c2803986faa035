-- DuckDB: tool tokens, where the client reports them apart.
CREATE OR REPLACE TEMP TABLE found_groups AS
SELECT
    row_number() OVER (ORDER BY client, provider, model) AS group_no, client, provider, model, '' AS detail,
    CAST(sum(CAST(tool_input_tokens AS HUGEINT) + tool_output_tokens) AS HUGEINT) AS tool_tokens,
    CAST(sum(total_tokens) AS HUGEINT) AS all_tokens,
    CAST(tool_tokens * 1000000 // all_tokens * CAST(0.000001 AS DECIMAL(7, 6)) AS DECIMAL(18, 6)) AS tool_share
FROM requests
WHERE in_period
GROUP BY client, provider, model
HAVING sum(total_tokens) >= greatest(getvariable('minimum_total_tokens'), 1)
    AND sum(CAST(tool_input_tokens AS HUGEINT) + tool_output_tokens)
        >= sum(total_tokens) * getvariable('minimum_tool_share')
    AND sum(CAST(tool_input_tokens AS HUGEINT) + tool_output_tokens) > 0;

INSERT INTO changed
SELECT
    row_number() OVER (), g.group_no, r.request_no, r.channel, r.lookup_provider, r.rate_model, r.requested_context,
    r.bucket, r.is_sum, r.input_tokens, r.cache_read_tokens, r.cache_write_5m_tokens, r.cache_write_1h_tokens,
    r.output_tokens, 0, 0
FROM requests AS r
JOIN found_groups AS g USING (client, provider, model)
WHERE r.in_period AND r.tool_input_tokens + r.tool_output_tokens > 0
