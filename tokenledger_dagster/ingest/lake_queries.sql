-- What is copied out of the manifest (SQLite) into DuckDB; each head names the table and its columns' DuckDB types.

-- relation: m_events event_no:BIGINT event_id:VARCHAR rid:BIGINT session_no:BIGINT model_no:BIGINT timestamp_us:BIGINT is_estimated:BIGINT input_tokens:BIGINT output_tokens:BIGINT cache_write_tokens:BIGINT cache_read_tokens:BIGINT tool_input_tokens:BIGINT tool_output_tokens:BIGINT cache_write_1h_tokens:BIGINT reasoning_tokens:BIGINT web_search_requests:BIGINT booking_flags:VARCHAR channel:VARCHAR list_price_nano:BIGINT list_basis:VARCHAR price_confidence:BIGINT requested_context:VARCHAR priced_context:VARCHAR unpriced_reason:VARCHAR reported_nano:BIGINT
SELECT event_no, event_id, rid, session_no, model_no, timestamp_us, is_estimated, input_tokens, output_tokens,
  cache_write_tokens, cache_read_tokens, tool_input_tokens, tool_output_tokens, cache_write_1h_tokens,
  reasoning_tokens, web_search_requests, booking_flags, channel, list_price_nano, list_basis, price_confidence, requested_context,
  priced_context, unpriced_reason, reported_nano
FROM events;

-- relation: m_records rid:BIGINT event_no:BIGINT rule:VARCHAR
SELECT rid, event_no, rule FROM records;

-- A record that gives way to a better source, and a record of that source that tells of the same request.
-- relation: m_witnesses rid:BIGINT better_rid:BIGINT
SELECT mine.rid, min(other.rid) FROM links mine JOIN links other USING (link)
WHERE mine.source_rank > other.source_rank AND mine.names_request = 1 GROUP BY mine.rid;

-- relation: m_sessions session_no:BIGINT client:VARCHAR session_id:VARCHAR project:VARCHAR first_us:BIGINT
SELECT session_no, client, session_id, project, first_us FROM sessions;

-- relation: m_models model_no:BIGINT model_raw:VARCHAR upstream:VARCHAR provider:VARCHAR model:VARCHAR maker:VARCHAR modifiers:VARCHAR rule:VARCHAR confidence:BIGINT
SELECT model_no, model_raw, upstream, provider, model, maker, modifiers, rule, confidence FROM models;

-- relation: m_sources source_no:BIGINT generation:BIGINT source_id:VARCHAR client:VARCHAR path:VARCHAR status:VARCHAR encoding:VARCHAR size:BIGINT read_offset:BIGINT first_seen_us:BIGINT last_seen_us:BIGINT record_count:BIGINT
SELECT o.source_no, (SELECT generation FROM streams t WHERE t.stream_no = o.stream_no), o.source_id, o.client, o.path, o.status, o.encoding, o.size, o.read_offset, o.first_seen_us,
  o.last_seen_us, coalesce(r.record_count, 0)
FROM sources o LEFT JOIN (
  SELECT s.source_no, sum(r.last_rid - r.first_rid + 1) AS record_count
  FROM stream_runs r JOIN streams s USING (stream_no) GROUP BY s.source_no
) r USING (source_no);

-- relation: m_segments name:VARCHAR format:VARCHAR sha256:VARCHAR bytes:BIGINT row_count:BIGINT first_rid:BIGINT last_rid:BIGINT created_us:BIGINT
SELECT name, format, sha256, bytes, row_count, first_rid, last_rid, created_us FROM segments;

-- relation: m_price_months month:VARCHAR snapshot_id:VARCHAR
SELECT month, snapshot_id FROM price_months;

-- relation: lake_quarantine source_id:VARCHAR source_path:VARCHAR byte_offset:BIGINT byte_length:BIGINT record_sha256:VARCHAR reason:VARCHAR
SELECT o.source_id, o.path, q.byte_offset, q.byte_length, q.record_sha256, q.reason
FROM quarantine q JOIN streams s USING (stream_no) JOIN sources o USING (source_no);

-- relation: lake_skips client:VARCHAR source_id:VARCHAR reason:VARCHAR row_count:BIGINT
SELECT o.client, o.source_id, k.reason, sum(k.row_count)
FROM skips k JOIN streams s USING (stream_no) JOIN sources o USING (source_no) GROUP BY o.client, o.source_id, k.reason;
