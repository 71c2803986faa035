-- SQLite, over the manifest: booked requests of every session.
SELECT s.client, s.session_id, sum(c.event_count) AS event_count
FROM cells c
JOIN sessions s USING (session_no)
GROUP BY s.client, s.session_id
