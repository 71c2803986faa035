-- SQLite, over the manifest: every log ever read.  Its columns are those of `source_rows` in exports/recipes.py.
SELECT
    o.source_id, o.client, o.path, o.status, o.encoding, o.size AS size_bytes, o.read_offset,
    (SELECT coalesce(sum(r.last_rid - r.first_rid + 1), 0)
     FROM streams s JOIN stream_runs r USING (stream_no) WHERE s.source_no = o.source_no) AS record_count,
    (SELECT coalesce(sum(k.row_count), 0)
     FROM streams s JOIN skips k USING (stream_no) WHERE s.source_no = o.source_no) AS skipped_count,
    (SELECT count(*)
     FROM streams s JOIN quarantine q USING (stream_no) WHERE s.source_no = o.source_no) AS quarantined_count,
    o.first_seen_us, o.last_seen_us
FROM sources o
ORDER BY o.source_id
