-- Events with a negative counter.
SELECT event_id, client, model, timestamp, {counters}, source_path, byte_offset
FROM read_parquet({events})
WHERE least({counters}) < 0
ORDER BY timestamp, event_id
