SELECT
    event_id, total_tokens, output_tokens, reasoning_tokens, cache_write_tokens, cache_write_1h_tokens,
    output_tokens / total_tokens AS output_share
FROM events
WHERE total_tokens > 0
