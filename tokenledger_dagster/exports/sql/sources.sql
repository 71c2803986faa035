-- SQLite, over the manifest: every log ever read.  The columns are those of `source_rows` in exports/recipes.py.
SELECT
    o.source_id, o.client, o.path, o.status, o.encoding, o.size AS size_bytes, o.read_offset,
    coalesce(sum(r.row_count), 0) AS record_count,
    coalesce(sum(k.row_count), 0) AS skipped_count,
    coalesce(sum(q.row_count), 0) AS quarantined_count,
    o.first_seen_us, o.last_seen_us
FROM sources o
LEFT JOIN streams s USING (source_no)
LEFT JOIN (SELECT stream_no, sum(last_rid - first_rid + 1) AS row_count FROM stream_runs GROUP BY stream_no) r
    USING (stream_no)
LEFT JOIN (SELECT stream_no, sum(row_count) AS row_count FROM skips GROUP BY stream_no) k USING (stream_no)
LEFT JOIN (SELECT stream_no, count(*) AS row_count FROM quarantine GROUP BY stream_no) q USING (stream_no)
GROUP BY o.source_no
ORDER BY o.source_id
