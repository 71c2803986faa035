-- Booked events with the context and evidence of their winning record.  Needs the relations of ingest.lake.attach.
SELECT
    1 AS schema_version,
    e.event_id, e.timestamp, e.client, e.provider, e.maker, e.model, e.model_raw, e.modifiers, e.mapping_rule,
    e.mapping_confidence, e.channel, e.session_id, r.parent_session_id, r.agent_id, r.is_sidechain, e.project, r.cwd,
    r.git_branch, r.client_version, r.service_tier, r.speed,
    e.input_tokens, e.output_tokens, e.cache_write_tokens, e.cache_read_tokens, e.tool_input_tokens,
    e.tool_output_tokens,
    e.input_tokens + e.output_tokens + e.cache_write_tokens + e.cache_read_tokens + e.tool_input_tokens
        + e.tool_output_tokens AS total_tokens,
    e.cache_write_1h_tokens, e.reasoning_tokens, e.web_search_requests,
    r.message_id, r.request_id, r.reported_cost_usd, e.is_estimated, list_concat(r.flags, e.booking_flags) AS flags,
    r.host, r.raw_usage,
    r.source_id, r.source_path, r.encoding AS source_encoding, r.byte_offset, r.byte_length, r.record_sha256,
    r.parser_version, r.locator AS source_locator, r.upstream, r.billing_kind, r.account_hash, r.latency_ms,
    r.ttft_ms, r.status
FROM booking_events AS e
JOIN lake_records AS r USING (rid)
