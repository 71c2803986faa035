-- SQLite: a range of local days by client, model, provider and session.
SELECT
    s.client, m.model, m.provider, c.session_no,
    sum(c.input_tokens + c.output_tokens + c.cache_write_tokens + c.cache_read_tokens + c.tool_input_tokens
        + c.tool_output_tokens),
    sum(c.list_price_nano),
    sum(c.unpriced_count),
    sum(c.is_estimated * (c.input_tokens + c.output_tokens + c.cache_write_tokens + c.cache_read_tokens
        + c.tool_input_tokens + c.tool_output_tokens)),
    sum(c.list_price_nano)
FROM cells c
JOIN sessions s USING (session_no)
JOIN models m USING (model_no)
WHERE c.day BETWEEN ? AND ?
GROUP BY c.session_no, s.client, m.model, m.provider
