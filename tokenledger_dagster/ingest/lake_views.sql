-- Relations named in ingest/lake.py, made from what was copied out of the manifest.

CREATE OR REPLACE TABLE booking_events AS
SELECT
  e.event_no, e.event_id, e.rid, s.client, m.provider, s.session_id, s.project,
  m.model, m.model_raw, m.maker, m.modifiers, m.rule AS mapping_rule, m.confidence AS mapping_confidence,
  e.channel, make_timestamp(e.timestamp_us) AS timestamp, e.is_estimated = 1 AS is_estimated,
  e.input_tokens, e.output_tokens, e.cache_write_tokens, e.cache_read_tokens, e.tool_input_tokens,
  e.tool_output_tokens, e.cache_write_1h_tokens, e.reasoning_tokens, e.web_search_requests,
  CASE WHEN e.booking_flags = '' THEN [] ELSE string_split(e.booking_flags, ',') END AS booking_flags,
  e.list_price_nano, e.list_basis, e.price_confidence, e.requested_context, e.priced_context, e.unpriced_reason,
  m.upstream, p.snapshot_id AS price_snapshot_id
FROM m_events e
LEFT JOIN m_price_months p ON p.month = strftime(make_timestamp(e.timestamp_us), '%Y-%m')
JOIN m_sessions s USING (session_no)
JOIN m_models m USING (model_no);

CREATE OR REPLACE TABLE booking_records AS
SELECT r.rid, coalesce(e.event_id, b.event_id) AS event_id, r.rule
FROM m_records r
LEFT JOIN m_events e USING (event_no)
LEFT JOIN m_witnesses w ON w.rid = r.rid AND r.event_no IS NULL
LEFT JOIN m_records o ON o.rid = w.better_rid
LEFT JOIN m_events b ON b.event_no = o.event_no;

CREATE OR REPLACE TABLE lake_sources AS
SELECT source_no, generation, source_id, client, path, status, encoding, size, read_offset,
  make_timestamp(first_seen_us) AS first_seen, make_timestamp(last_seen_us) AS last_seen, record_count
FROM m_sources;

CREATE OR REPLACE TABLE lake_segments AS
SELECT name, format, sha256, bytes, row_count, first_rid, last_rid, make_timestamp(created_us) AS created
FROM m_segments;

DROP TABLE m_events;
DROP TABLE m_records;
DROP TABLE m_witnesses;
DROP TABLE m_sessions;
DROP TABLE m_models;
DROP TABLE m_price_months;
DROP TABLE m_sources;
DROP TABLE m_segments;
