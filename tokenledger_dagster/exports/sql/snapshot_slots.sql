-- SQLite: a range of quarter hours by client, model, provider and session, for a zone in which there are no cells.
SELECT
    c.slot, c.model_no, c.is_estimated, s.client, m.model, m.provider, c.session_no,
    c.input_tokens + c.output_tokens + c.cache_write_tokens + c.cache_read_tokens + c.tool_input_tokens
        + c.tool_output_tokens,
    c.list_price_nano,
    c.unpriced_count,
    c.is_estimated * (c.input_tokens + c.output_tokens + c.cache_write_tokens + c.cache_read_tokens
        + c.tool_input_tokens + c.tool_output_tokens)
FROM slots c
JOIN sessions s USING (session_no)
JOIN models m USING (model_no)
WHERE c.slot >= ? AND c.slot < ?
