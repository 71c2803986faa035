-- DuckDB: what every rule fills: requests as they might have been, by group.  The columns from channel on are those of
-- `requests` and decide the price.
CREATE OR REPLACE TEMP TABLE changed (
    changed_no BIGINT, group_no BIGINT, request_no BIGINT,
    channel VARCHAR, lookup_provider VARCHAR, rate_model VARCHAR, requested_context VARCHAR, bucket BIGINT,
    is_sum BOOLEAN, input_tokens BIGINT, cache_read_tokens BIGINT, cache_write_5m_tokens BIGINT,
    cache_write_1h_tokens BIGINT, output_tokens BIGINT, tool_input_tokens BIGINT, tool_output_tokens BIGINT
)
