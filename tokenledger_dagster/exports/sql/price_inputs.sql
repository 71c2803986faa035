-- The relation `events` of pricing/price_events.sql.  The bucket is the stretch of time within which a rate cannot
-- change, counted from 1970 and rounded down; it is null where the name is too uncertain to be priced, so that no rate joins.
CREATE OR REPLACE TEMP TABLE events AS
SELECT
    f.event_id, n.channel, n.book_provider AS provider, n.priced_model AS model, n.requested_context, n.plain_context,
    CASE WHEN n.usable THEN (f.timestamp_us - ((f.timestamp_us % n.bucket_us) + n.bucket_us) % n.bucket_us) // n.bucket_us END AS bucket,
    f.input_tokens, f.cache_read_tokens, f.cache_write_5m_tokens, f.cache_write_1h_tokens, f.output_tokens,
    f.tool_input_tokens, f.tool_output_tokens,
    f.is_sum, f.timestamp, f.client, f.provider AS billed_by, n.model AS canonical_model, f.total_tokens, f.price_snapshot_id, n.usable, n.name_confidence, n.reason
FROM price_facts AS f
JOIN named AS n USING (client, model_raw, service_tier, speed, upstream, message_prefix, utc_day)
