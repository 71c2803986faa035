-- DuckDB: requests above the prompt size from which every token costs more; they are priced again at the lower rates.
CREATE OR REPLACE TEMP TABLE long_requests AS
SELECT r.*
FROM requests AS r
JOIN resolved_rates AS t
    ON t.channel = r.channel AND t.model = r.rate_model AND t.requested_context = r.requested_context
    AND t.bucket = r.bucket AND t.provider = r.lookup_provider
WHERE r.in_period AND NOT r.is_sum AND r.list_nano IS NOT NULL
    AND (
        r.prompt_tokens + r.tool_input_tokens > t.tier_from_tokens
        OR (t.tier_inclusive AND r.prompt_tokens + r.tool_input_tokens = t.tier_from_tokens)
    );

CREATE OR REPLACE TEMP TABLE found_groups AS
SELECT row_number() OVER (ORDER BY client, provider, model) AS group_no, client, provider, model, '' AS detail
FROM (SELECT DISTINCT client, provider, model FROM long_requests);

INSERT INTO changed
SELECT
    row_number() OVER (), g.group_no, r.request_no, r.channel, r.lookup_provider, r.rate_model, r.requested_context,
    r.bucket, r.is_sum, r.input_tokens, r.cache_read_tokens, r.cache_write_5m_tokens, r.cache_write_1h_tokens,
    r.output_tokens, r.tool_input_tokens, r.tool_output_tokens
FROM long_requests AS r
JOIN found_groups AS g USING (client, provider, model)
