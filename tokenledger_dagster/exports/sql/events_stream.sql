-- Booked events in the order of the event contract, with price and evidence.  Needs the relations of ingest.lake.attach.
WITH stream AS (
    SELECT
        1 AS schema_version, e.event_id, e.provider, e.model, e.session_id, e.timestamp,
        e.input_tokens, e.output_tokens, e.cache_write_tokens, e.cache_read_tokens, e.tool_input_tokens,
        e.tool_output_tokens, e.cache_write_1h_tokens, e.reasoning_tokens, e.web_search_requests,
        e.client, e.model_raw, e.maker, e.channel, e.modifiers, e.mapping_rule, e.mapping_confidence,
        r.request_id, r.message_id, r.parent_session_id, r.agent_id, r.is_sidechain, e.project, r.cwd, r.git_branch,
        r.client_version, r.service_tier, r.speed, r.reported_cost_usd, e.is_estimated,
        list_concat(r.flags, e.booking_flags) AS flags, r.host, r.raw_usage,
        (e.list_price_nano * 0.000000001::DECIMAL(10, 9))::DECIMAL(18, 9) AS list_price_usd, e.list_basis,
        e.price_confidence, e.requested_context, e.priced_context, e.unpriced_reason,
        r.source_id, r.source_path, r.encoding AS source_encoding, r.byte_offset, r.byte_length, r.record_sha256,
        r.parser_version, r.locator AS source_locator, r.upstream, r.billing_kind, r.account_hash, r.latency_ms,
        r.ttft_ms, r.status
    FROM booking_events AS e
    JOIN lake_records AS r USING (rid)
)
SELECT * FROM stream
WHERE true /*conditions*/
ORDER BY timestamp, event_id
