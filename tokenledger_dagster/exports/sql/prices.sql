-- The committed rate table rates, nano-USD per million tokens turned into USD.
SELECT
    channel, model, context,
    valid_from_utc AS valid_from, valid_to_utc AS valid_to, tod_from, tod_to, tier_from_tokens,
    CASE tier_inclusive WHEN 'true' THEN true WHEN 'false' THEN false END AS tier_inclusive,
    input * nano AS input_usd_per_mtok,
    cache_read * nano AS cache_read_usd_per_mtok,
    cache_write_5m * nano AS cache_write_5m_usd_per_mtok,
    cache_write_1h * nano AS cache_write_1h_usd_per_mtok,
    output * nano AS output_usd_per_mtok,
    input_high * nano AS input_high_usd_per_mtok,
    cache_read_high * nano AS cache_read_high_usd_per_mtok,
    cache_write_5m_high * nano AS cache_write_5m_high_usd_per_mtok,
    cache_write_1h_high * nano AS cache_write_1h_high_usd_per_mtok,
    output_high * nano AS output_high_usd_per_mtok,
    coalesce(own_channel, '') = 'yes' AS is_own_channel,
    price_list_model, source, source_version, status, confidence,
    getvariable('price_snapshot_id') AS price_snapshot_id
FROM (
    SELECT *, CAST(0.000000001 AS DECIMAL(10, 9)) AS nano
    FROM read_csv({rates}, header = true, delim = ',', quote = '"', nullstr = '', auto_detect = false, columns = {{
        'channel': 'VARCHAR', 'model': 'VARCHAR', 'context': 'VARCHAR', 'valid_from_utc': 'DATE',
        'valid_to_utc': 'DATE', 'tod_from': 'VARCHAR', 'tod_to': 'VARCHAR', 'tier_from_tokens': 'BIGINT',
        'tier_inclusive': 'VARCHAR', 'input': 'BIGINT', 'cache_read': 'BIGINT', 'cache_write_5m': 'BIGINT',
        'cache_write_1h': 'BIGINT', 'output': 'BIGINT', 'input_high': 'BIGINT', 'cache_read_high': 'BIGINT',
        'cache_write_5m_high': 'BIGINT', 'cache_write_1h_high': 'BIGINT', 'output_high': 'BIGINT',
        'own_channel': 'VARCHAR', 'price_list_model': 'VARCHAR', 'source': 'VARCHAR', 'source_version': 'VARCHAR',
        'status': 'VARCHAR', 'confidence': 'INTEGER'
    }})
)
