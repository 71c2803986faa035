SELECT
    client,
    duplicate_count / (duplicate_count + event_count) AS duplicate_share,
    without_owner_count / nullif(duplicate_count, 0) AS without_owner_share
FROM (SELECT client, count(*) AS event_count FROM events GROUP BY client)
LEFT JOIN (
    SELECT client, count(*) AS duplicate_count, count(*) FILTER (owner_event_id IS NULL) AS without_owner_count
    FROM duplicates
    GROUP BY client
) USING (client)
ORDER BY client
