-- What decides an event's price, from the published events alone; `price_facts` is made from events, a Parquet file,
-- for the months of `priced_months`.
-- A message id's prefix can name the channel; logs' nulls and blanks mean the same.
CREATE OR REPLACE TEMP TABLE price_facts AS
SELECT
    event_id, timestamp, client, provider, session_id, total_tokens, price_snapshot_id,
    coalesce(model_raw, '') AS model_raw,
    coalesce(service_tier, '') AS service_tier,
    coalesce(speed, '') AS speed,
    coalesce(upstream, '') AS upstream,
    coalesce(list_first(list_filter(getvariable('message_prefixes'), lambda prefix: starts_with(message_id, prefix))), '')
        AS message_prefix,
    CAST(timestamp AS DATE) AS utc_day,
    epoch_us(timestamp) AS timestamp_us,
    list_contains(flags, 'sum_of_requests') AS is_sum,
    input_tokens,
    tool_input_tokens,
    tool_output_tokens,
    cache_read_tokens,
    cache_write_tokens - cache_write_1h_tokens AS cache_write_5m_tokens,
    cache_write_1h_tokens,
    output_tokens
FROM read_parquet({events})
JOIN priced_months ON month = strftime(timestamp, '%Y-%m')
