-- SQLite: booked events from one microsecond until before another, by model, channel, context, UTC day and half hour.
SELECT
    m.model_no, m.client, m.provider, m.model_raw, m.upstream, m.model, m.maker, m.modifiers, m.rule, m.confidence,
    e.channel, e.requested_context, e.day, e.half_hour,
    e.event_count, e.priceable_count, e.tokens, e.unpriced_count, e.unpriced_tokens, e.list_nano, e.reported_nano,
    e.reported_list_nano, e.reported_count, e.unpriced_reason
FROM (
    SELECT
        model_no, channel, requested_context,
        -- rounded down, before 1970 too
        (timestamp_us - ((timestamp_us % 86400000000) + 86400000000) % 86400000000) / 86400000000 AS day,
        ((timestamp_us % 86400000000) + 86400000000) % 86400000000 / 1800000000 AS half_hour,
        count(*) AS event_count,
        sum(input_tokens + output_tokens + cache_write_tokens + cache_read_tokens + tool_input_tokens
            + tool_output_tokens > 0) AS priceable_count,
        sum(input_tokens + output_tokens + cache_write_tokens + cache_read_tokens + tool_input_tokens
            + tool_output_tokens) AS tokens,
        count(*) - count(list_price_nano) AS unpriced_count,
        sum(CASE WHEN list_price_nano IS NULL THEN input_tokens + output_tokens + cache_write_tokens
            + cache_read_tokens + tool_input_tokens + tool_output_tokens ELSE 0 END) AS unpriced_tokens,
        coalesce(sum(list_price_nano), 0) AS list_nano,
        sum(reported_nano) AS reported_nano,
        coalesce(sum(CASE WHEN reported_nano > 0 THEN list_price_nano END), 0) AS reported_list_nano,
        sum(reported_nano > 0) AS reported_count,
        max(unpriced_reason) AS unpriced_reason
    FROM events
    WHERE timestamp_us >= ? AND timestamp_us < ?
    GROUP BY 1, 2, 3, 4, 5
) e
JOIN models m USING (model_no)
ORDER BY m.provider, m.model, m.client, e.channel, e.requested_context, e.day, e.half_hour, m.model_no
