-- By UTC month, how many events there are, a digest of what their costs depend on, and the models whose rates they
-- depend on; events is a Parquet file.
SELECT
    strftime(timestamp, '%Y-%m') AS month,
    count(*),
    bit_xor(hash(
        event_id, timestamp, client, provider, model_raw, model, service_tier, speed, upstream, message_id, session_id,
        flags, is_estimated, billing_kind, account_hash, reported_cost_usd, total_tokens, input_tokens, output_tokens,
        cache_write_tokens, cache_read_tokens, tool_input_tokens, tool_output_tokens, cache_write_1h_tokens
    )),
    list_sort(list(DISTINCT {{'provider': provider, 'model': model}}))
FROM read_parquet({events})
GROUP BY month
ORDER BY month
