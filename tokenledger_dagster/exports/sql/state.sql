-- SQLite, over the manifest: everything the booked tables depend on, so that equal answers mean equal tables.
-- statement: segments
SELECT name, sha256, row_count FROM segments ORDER BY first_rid, name;
-- statement: meta
SELECT key, value FROM meta WHERE key IN ('booking_key', 'manifest_version') ORDER BY key;
-- statement: events
SELECT count(*), max(event_no), sum(rid), sum(session_no), sum(model_no),
    -- SQLite refuses integer sums beyond 64 bits
    sum(timestamp_us / 1000000), sum(timestamp_us % 1000000),
    sum(input_tokens), sum(output_tokens), sum(cache_write_tokens), sum(cache_read_tokens), sum(tool_input_tokens),
    sum(tool_output_tokens), sum(cache_write_1h_tokens), sum(reasoning_tokens), sum(web_search_requests),
    min(input_tokens), min(output_tokens), min(cache_write_tokens), min(cache_read_tokens)
FROM events;
-- statement: prices
SELECT sum(list_price_nano % 1000000007), total(list_price_nano), count(list_price_nano) FROM events;
-- statement: price_months
SELECT month, snapshot_id FROM price_months ORDER BY month;
-- statement: streams
SELECT stream_no, source_no, generation, archived, subagent, session, lineage FROM streams
ORDER BY stream_no;
-- statement: sources
SELECT source_no, path FROM sources ORDER BY source_no;
-- statement: sessions
SELECT session_no, project FROM sessions ORDER BY session_no;
-- statement: models
SELECT model_no, provider, model, maker, modifiers, rule, confidence FROM models ORDER BY model_no;
