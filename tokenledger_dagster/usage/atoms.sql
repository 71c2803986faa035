-- SQLite: the manifest's quarter hours as pricing.economics.Atom takes them, behind the numbers of session and model.
SELECT
    c.session_no, c.model_no,
    c.slot, s.client, s.session_id, coalesce(m.model_raw, ''), coalesce(m.upstream, ''), coalesce(m.billing_kind, ''),
    coalesce(m.account_hash, ''), m.is_reported, c.is_estimated, m.provider, m.model,
    c.event_count, c.unpriced_count,
    c.input_tokens + c.output_tokens + c.cache_write_tokens + c.cache_read_tokens + c.tool_input_tokens
        + c.tool_output_tokens,
    c.unpriced_tokens, c.list_price_nano, c.reported_nano
FROM slots c
JOIN sessions s USING (session_no)
JOIN models m USING (model_no)
ORDER BY c.slot
