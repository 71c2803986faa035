"""Records as a CLIProxyAPI of version 7 queues them, with every field that holds something secret filled."""

from __future__ import annotations

from typing import Any

SECRETS = (
    "sk-PLANTEDKEY00112233445566", "ada.planted@example.org", "198.51.100.77", "203.0.113.99", "planted-header-value",
    "plantedtokenhash77", "planted error body", "Planted-Agent-Owner", "mgmt-SECRETKEY-0123456789abcdef",
    "planted-unknown-text",
)  # fmt: skip


def breakdown(
    fresh: int = 3000, read: int = 9000, write: int = 0, plain: int = 500, reasoning: int = 300, **other: Any
) -> dict[str, Any]:
    """A canonical breakdown that keeps its invariants."""
    return {
        "schema_version": 2,
        "quality": "complete",
        "total_tokens": fresh + read + write + plain + reasoning,
        "input": {
            "total_tokens": fresh + read + write,
            "uncached_tokens": fresh,
            "cache_read_tokens": read,
            "cache_write_tokens": write,
        },
        "output": {
            "total_tokens": plain + reasoning,
            "non_reasoning_tokens": plain,
            "reasoning_tokens": reasoning,
        },
        "unclassified_tokens": 0,
        **other,
    }


def queued(request: str | None = "r1", second: int = 0, **fields: Any) -> dict[str, Any]:
    """A queue record; further fields by their own names (None leaves one out)."""
    found = {
        "timestamp": f"2026-02-18T09:00:{second:02}.123456789Z",
        "latency_ms": 1500,
        "ttft_ms": 210,
        "source": "ada.planted@example.org",
        "auth_index": "0",
        "client_ip": "198.51.100.77",
        "x_forwarded_for": "203.0.113.99",
        "user_agent": "codex_cli_rs/0.104.0 (Planted-Agent-Owner)",
        "tokens": {
            "input_tokens": 12000,
            "output_tokens": 800,
            "reasoning_tokens": 300,
            "cached_tokens": 9000,
            "cache_read_tokens": 9000,
            "cache_read_tokens_present": True,
            "cache_creation_tokens": 0,
            "total_tokens": 12800,
        },
        "failed": False,
        "generate": True,
        "fail": {"status_code": 200, "body": "planted error body"},
        "response_headers": {"Set-Cookie": ["planted-header-value"]},
        "access_token_sha256": "plantedtokenhash77",
        "accounting_version": 2,
        "token_breakdown": breakdown(),
        "provider": "codex",
        "executor_type": "CodexExecutor",
        "model": "gpt-5.3-codex",
        "alias": "fast-coder",
        "endpoint": "POST /v1/responses",
        "auth_type": "oauth",
        "api_key": "sk-PLANTEDKEY00112233445566",
        "request_id": request,
        "reasoning_effort": "high",
        "service_tier": "auto",
        "response_service_tier": "priority",
        **fields,
    }
    return {name: value for name, value in found.items() if value is not None}


def detail(second: int = 0, **fields: Any) -> dict[str, Any]:
    """A version 6 detail."""
    found = {
        "timestamp": f"2026-02-18T09:00:{second:02}.123456789Z",
        "latency_ms": 900,
        "source": "ada.planted@example.org",
        "auth_index": "0",
        "tokens": {
            "input_tokens": 120,
            "output_tokens": 30,
            "reasoning_tokens": 12,
            "cached_tokens": 20,
            "total_tokens": 150,
        },
        "failed": False,
        **fields,
    }
    return {name: value for name, value in found.items() if value is not None}


def export(models: dict[str, list[dict[str, Any]]], api: str = "sk-PLANTEDKEY00112233445566") -> dict[str, Any]:
    """A version 6 export."""
    filed = {
        model: {"total_requests": len(details), "total_tokens": 0, "details": details}
        for model, details in models.items()
    }
    apis = {api: {"total_requests": 0, "total_tokens": 0, "models": filed}}
    return {"version": 1, "exported_at": "2026-02-18T12:00:00Z", "usage": {"total_requests": 0, "apis": apis}}
