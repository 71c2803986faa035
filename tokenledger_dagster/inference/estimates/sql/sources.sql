-- SQLite, over the manifest: every log that is still there, whether any usage was read from it, and the reasons for which
-- rows of it were passed over.
SELECT
    o.client, o.path, o.size, o.mtime_ns,
    EXISTS (SELECT 1 FROM stream_runs r WHERE r.stream_no = o.stream_no)
        OR EXISTS (SELECT 1 FROM packs p WHERE p.stream_no = o.stream_no) AS has_usage,
    group_concat(k.reason) AS reasons
FROM sources o
LEFT JOIN skips k ON k.stream_no = o.stream_no
WHERE o.status = 'present'
GROUP BY o.source_no
