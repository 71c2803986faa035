SELECT
    e.client,
    count(*) AS event_count,
    count(DISTINCT e.event_id) AS distinct_count,
    count(c.event_id) AS costed_count,
    count(*) FILTER (
        coalesce(e.event_id, '') = '' OR e.timestamp IS NULL OR coalesce(e.session_id, '') = ''
        OR coalesce(e.provider, '') = '' OR coalesce(e.model, '') = ''
    ) AS without_key,
    count(*) FILTER (
        coalesce(e.source_id, '') = '' OR coalesce(e.source_path, '') = '' OR length(e.record_sha256) <> 64
    ) AS without_evidence
FROM events AS e
LEFT JOIN event_costs AS c USING (event_id)
GROUP BY e.client
ORDER BY e.client
