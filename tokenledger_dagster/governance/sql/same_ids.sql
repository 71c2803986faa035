-- Event ids that stand more than once in a table of events.
SELECT event_id, count(*) AS row_count
FROM read_parquet({events})
GROUP BY event_id
HAVING count(*) > 1
ORDER BY row_count DESC, event_id
