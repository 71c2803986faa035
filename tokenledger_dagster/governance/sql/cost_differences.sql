-- Events that booking and the table event_costs price differently.  Needs the relations of ingest.lake.attach.
SELECT
    event_id,
    b.list_price_nano AS booked_nano, CAST(CAST(c.list_price_usd AS DECIMAL(38, 9)) * 1000000000 AS HUGEINT) AS table_nano,
    b.model AS booked_model, c.model AS table_model,
    b.channel AS booked_channel, c.channel AS table_channel,
    b.requested_context AS booked_context, c.requested_context AS table_context,
    b.list_basis AS booked_basis, c.list_basis AS table_basis,
    b.price_confidence AS booked_confidence, c.price_confidence AS table_confidence,
    b.unpriced_reason AS booked_reason, c.unpriced_reason AS table_reason
FROM booking_events AS b
FULL JOIN read_parquet({costs}) AS c USING (event_id)
WHERE booked_nano IS DISTINCT FROM table_nano
    OR booked_model IS DISTINCT FROM table_model
    OR booked_channel IS DISTINCT FROM table_channel
    OR booked_context IS DISTINCT FROM table_context
    OR booked_basis IS DISTINCT FROM table_basis
    OR booked_confidence IS DISTINCT FROM table_confidence
    OR booked_reason IS DISTINCT FROM table_reason
    OR nullif(b.priced_context, '') IS DISTINCT FROM c.priced_context
ORDER BY event_id
