-- Records that booking set aside.  Needs the relations of ingest.lake.attach.
SELECT
    r.rid AS record_no, b.rule, b.event_id AS owner_event_id, r.client, r.session_id, r.timestamp, r.model_raw,
    r.input_tokens, r.output_tokens, r.cache_write_tokens, r.cache_read_tokens, r.tool_input_tokens,
    r.tool_output_tokens,
    r.input_tokens + r.output_tokens + r.cache_write_tokens + r.cache_read_tokens + r.tool_input_tokens
        + r.tool_output_tokens AS total_tokens,
    r.message_id, r.request_id, r.source_id, r.source_path, r.encoding AS source_encoding, r.byte_offset,
    r.byte_length, r.record_sha256, r.parser_version, r.locator AS source_locator
FROM booking_records AS b
JOIN lake_records AS r USING (rid)
WHERE b.rule IS NOT NULL
