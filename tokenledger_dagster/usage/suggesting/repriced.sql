-- DuckDB: the relation `events` of pricing/price_events.sql, made of changed requests.
CREATE OR REPLACE TEMP VIEW events AS
SELECT
    changed_no AS event_id, lookup_provider AS provider, channel, rate_model AS model, requested_context, bucket,
    input_tokens, cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens, output_tokens, tool_input_tokens,
    tool_output_tokens, is_sum
FROM changed
