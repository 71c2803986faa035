-- DuckDB: requests that asked for a speed or tier, as if they had not.
CREATE OR REPLACE TEMP TABLE found_groups AS
SELECT
    row_number() OVER (ORDER BY client, provider, model, requested_context) AS group_no,
    client, provider, model, requested_context AS detail
FROM (SELECT DISTINCT client, provider, model, requested_context FROM requests WHERE in_period AND requested_context <> plain_context);

INSERT INTO changed
SELECT
    row_number() OVER (), g.group_no, r.request_no, r.channel, r.lookup_provider, r.rate_model, r.plain_context,
    r.bucket, r.is_sum, r.input_tokens, r.cache_read_tokens, r.cache_write_5m_tokens, r.cache_write_1h_tokens,
    r.output_tokens, r.tool_input_tokens, r.tool_output_tokens
FROM requests AS r
JOIN found_groups AS g
    ON g.client = r.client AND g.provider = r.provider AND g.model = r.model AND g.detail = r.requested_context
WHERE r.in_period AND r.list_nano IS NOT NULL
