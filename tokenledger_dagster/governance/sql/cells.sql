-- SQLite: the manifest's cells by day, client, provider and model.
SELECT
    c.day, s.client, m.provider, m.model, coalesce(m.maker, ''), sum(c.event_count),
    sum(c.input_tokens), sum(c.output_tokens), sum(c.cache_write_tokens), sum(c.cache_read_tokens),
    sum(c.tool_input_tokens), sum(c.tool_output_tokens), sum(c.cache_write_1h_tokens), sum(c.reasoning_tokens),
    sum(c.web_search_requests), sum(c.list_price_nano), sum(c.unpriced_count), sum(c.unpriced_tokens)
FROM cells c
JOIN sessions s USING (session_no)
JOIN models m USING (model_no)
GROUP BY 1, 2, 3, 4, 5
