-- SQLite, over the manifest: the quarter hours in which a session has booked requests, in order.
SELECT DISTINCT c.slot
FROM slots c
JOIN sessions s USING (session_no)
WHERE s.client = ? AND s.session_id = ?
ORDER BY c.slot
