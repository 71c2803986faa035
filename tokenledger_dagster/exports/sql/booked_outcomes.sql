-- How booked requests of a proxy went, also of files that are gone; events is a Parquet file.
-- Without a time of its own a record is dated by its file; where it has no request id its identity is the message id.
SELECT
    request_id, epoch_us(timestamp) AS timestamp_us, list_contains(flags, 'timestamp_from_file') AS is_dated, model_raw,
    message_id, provider, model, latency_ms, ttft_ms, status
FROM read_parquet({events})
WHERE client = {client}
ORDER BY event_id
