-- home_facts is one row; where the ledger has moved on, no number of events is expected.
SELECT
    published_at,
    CASE WHEN is_current THEN 0 ELSE greatest(epoch(last_read) - epoch(published_at), 0) / 3600 END AS behind_hours,
    (SELECT count(*) FROM events) AS published_event_count,
    CASE WHEN is_current THEN ledger_event_count ELSE (SELECT count(*) FROM events) END AS expected_event_count
FROM home_facts
