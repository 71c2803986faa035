-- SQLite: events of a range of UTC instants, one by one, for a zone in which there are no cells.
SELECT
    e.timestamp_us, s.client, m.model, e.session_no,
    e.input_tokens + e.output_tokens + e.cache_write_tokens + e.cache_read_tokens + e.tool_input_tokens
        + e.tool_output_tokens,
    coalesce(e.list_price_nano, 0),
    e.list_price_nano IS NULL
FROM events e
JOIN sessions s USING (session_no)
JOIN models m USING (model_no)
WHERE e.timestamp_us >= ? AND e.timestamp_us < ?
