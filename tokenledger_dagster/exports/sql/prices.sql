-- `rate_rows` holds every row of every layer as text; nano-USD per million tokens turned into USD.
SELECT
    layer, provider, channel, model, context,
    CAST(valid_from_utc AS DATE) AS valid_from, CAST(valid_to_utc AS DATE) AS valid_to, tod_from, tod_to,
    CAST(tier_from_tokens AS BIGINT) AS tier_from_tokens,
    CASE tier_inclusive WHEN 'true' THEN true WHEN 'false' THEN false END AS tier_inclusive,
    CAST(input AS BIGINT) * nano AS input_usd_per_mtok,
    CAST(cache_read AS BIGINT) * nano AS cache_read_usd_per_mtok,
    CAST(cache_write_5m AS BIGINT) * nano AS cache_write_5m_usd_per_mtok,
    CAST(cache_write_1h AS BIGINT) * nano AS cache_write_1h_usd_per_mtok,
    CAST(output AS BIGINT) * nano AS output_usd_per_mtok,
    CAST(input_high AS BIGINT) * nano AS input_high_usd_per_mtok,
    CAST(cache_read_high AS BIGINT) * nano AS cache_read_high_usd_per_mtok,
    CAST(cache_write_5m_high AS BIGINT) * nano AS cache_write_5m_high_usd_per_mtok,
    CAST(cache_write_1h_high AS BIGINT) * nano AS cache_write_1h_high_usd_per_mtok,
    CAST(output_high AS BIGINT) * nano AS output_high_usd_per_mtok,
    coalesce(own_channel, '') = 'yes' AS is_own_channel,
    price_list_model, coalesce(source, '') AS source, source_version, status, CAST(confidence AS INTEGER) AS confidence,
    getvariable('price_snapshot_id') AS price_snapshot_id,
    CAST(tool_input AS BIGINT) * nano AS tool_input_usd_per_mtok,
    CAST(tool_output AS BIGINT) * nano AS tool_output_usd_per_mtok,
    CAST(tool_input_high AS BIGINT) * nano AS tool_input_high_usd_per_mtok,
    CAST(tool_output_high AS BIGINT) * nano AS tool_output_high_usd_per_mtok
FROM (SELECT *, CAST(0.000000001 AS DECIMAL(10, 9)) AS nano FROM rate_rows)
