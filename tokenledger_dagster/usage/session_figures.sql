-- SQLite: what some sessions used on some days, by session and model; {sessions} is a list of session numbers.
SELECT
    c.session_no, m.model, min(c.day), max(c.day), sum(c.event_count),
    sum(c.input_tokens + c.output_tokens + c.cache_write_tokens + c.cache_read_tokens + c.tool_input_tokens
        + c.tool_output_tokens) AS total_tokens,
    sum(c.list_price_nano), sum(c.unpriced_count), sum(c.unpriced_tokens)
FROM cells c
JOIN models m USING (model_no)
WHERE c.session_no IN ({sessions}) AND c.day BETWEEN ? AND ?
GROUP BY c.session_no, m.model
ORDER BY total_tokens DESC, m.model
