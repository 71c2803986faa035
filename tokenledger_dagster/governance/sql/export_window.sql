-- Some UTC days of an export, in its order.
SELECT * FROM ({export}) WHERE CAST(timestamp AS DATE) BETWEEN ? AND ? ORDER BY timestamp, event_id
