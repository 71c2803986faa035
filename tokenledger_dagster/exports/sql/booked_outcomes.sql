-- How booked requests of a proxy went; events is a Parquet file.
SELECT
    request_id, epoch_us(timestamp) AS timestamp_us, model_raw, event_id, provider, model, latency_ms, ttft_ms, status,
    source_path
FROM read_parquet({events})
WHERE client = {client}
ORDER BY event_id
