-- DuckDB: requests with tokens and without a list price, by the reason for it.
CREATE OR REPLACE TEMP TABLE found_groups AS
SELECT
    row_number() OVER (ORDER BY client, provider, model, unpriced_reason) AS group_no, client, provider, model,
    unpriced_reason AS detail, CAST(sum(total_tokens) AS HUGEINT) AS unpriced_tokens
FROM requests
WHERE in_period AND list_nano IS NULL AND total_tokens > 0
GROUP BY client, provider, model, unpriced_reason
HAVING sum(total_tokens) >= getvariable('minimum_unpriced_tokens');

INSERT INTO changed
SELECT
    row_number() OVER (), g.group_no, r.request_no, r.channel, r.lookup_provider, r.rate_model, r.requested_context,
    r.bucket, r.is_sum, r.input_tokens, r.cache_read_tokens, r.cache_write_5m_tokens, r.cache_write_1h_tokens,
    r.output_tokens, r.tool_input_tokens, r.tool_output_tokens
FROM requests AS r
JOIN found_groups AS g
    ON g.client = r.client AND g.provider = r.provider AND g.model = r.model AND g.detail = r.unpriced_reason
WHERE r.in_period AND r.list_nano IS NULL AND r.total_tokens > 0
