-- Records that booking set aside, each with its rule and owner.  Needs the relations of ingest.lake.attach.
WITH stream AS (
    SELECT
        1 AS schema_version, b.rule, b.event_id AS owner_event_id, r.client, r.session_id, r.timestamp, r.model_raw,
        r.input_tokens, r.output_tokens, r.cache_write_tokens, r.cache_read_tokens, r.tool_input_tokens,
        r.tool_output_tokens, r.cache_write_1h_tokens, r.reasoning_tokens, r.web_search_requests,
        r.message_id, r.request_id, r.cwd AS project, r.is_estimated, r.flags,
        r.source_id, r.source_path, r.encoding AS source_encoding, r.byte_offset, r.byte_length, r.record_sha256,
        r.parser_version, r.locator AS source_locator, r.rid
    FROM booking_records AS b
    JOIN lake_records AS r USING (rid)
    WHERE b.rule IS NOT NULL
)
SELECT * EXCLUDE (rid) FROM stream
WHERE true /*conditions*/
ORDER BY timestamp, record_sha256, rid
