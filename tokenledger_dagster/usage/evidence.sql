-- Relations that usage/evidence.py reads, over those of ingest/lake.py.

CREATE OR REPLACE TEMP VIEW explained_events AS
SELECT * FROM booking_events;

-- Every record of an event; "current" is false where its file has been written anew since it was read.
CREATE OR REPLACE TEMP VIEW explained_evidence AS
SELECT
  b.event_id, r.rid, b.rule, coalesce(s.path, r.source_path) AS source_path, r.byte_offset, r.byte_length,
  r.record_sha256, r.locator, r.source_id, coalesce(s.encoding, r.encoding) AS encoding, r.flags,
  coalesce(s.generation = r.generation, true) AS current
FROM booking_records b
JOIN lake_records r USING (rid)
LEFT JOIN lake_sources s ON s.source_id = r.source_id
WHERE b.event_id IS NOT NULL;
