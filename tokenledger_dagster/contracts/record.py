"""The usage record: one usage-bearing log row as a client wrote it, duplicates included.

Here: the value a client adapter yields and the lake stores, and the limits every counter obeys.  Not here: booking
(``ingest.booking``), prices, or the booked event that reports are made of (``contracts.event``).
"""

from __future__ import annotations

import msgspec

Vector = tuple[int, int, int, int, int]
"""Codex counters as logged: input (cached inside), cached, cache write, output (reasoning inside), reasoning."""


class Counters(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Disjoint token counters of one request; their first six fields sum to ``total``."""

    input_tokens: int = 0
    """Prompt tokens neither read from nor written to a cache."""
    output_tokens: int = 0
    """Completion tokens, reasoning included."""
    cache_write_tokens: int = 0
    """5-minute and 1-hour cache writes."""
    cache_read_tokens: int = 0
    tool_input_tokens: int = 0
    tool_output_tokens: int = 0
    cache_write_1h_tokens: int = 0
    """Part of ``cache_write_tokens``."""
    reasoning_tokens: int = 0
    """Part of ``output_tokens``."""
    web_search_requests: int = 0

    @property
    def total(self) -> int:
        """Tokens of the six disjoint counters."""
        return (
            self.input_tokens
            + self.output_tokens
            + self.cache_write_tokens
            + self.cache_read_tokens
            + self.tool_input_tokens
            + self.tool_output_tokens
        )


class UsageRecord(msgspec.Struct, frozen=True, gc=False, array_like=True, kw_only=True):
    """One usage row with its evidence.

    ``array_like`` makes the JSON of a journal line a plain array: fields may only ever be appended.
    """

    # evidence: where in the uncompressed source the row stands, and what its bytes hashed to
    ordinal: int
    """Position among the usage records of its stream, from 0."""
    byte_offset: int
    byte_length: int
    record_sha256: str
    # when and who
    timestamp_us: int
    """Microseconds since 1970-01-01 UTC."""
    session_id: str
    """The session the row itself names; booking decides which session owns the event."""
    model_raw: str | None
    """What the log said, untouched; null when it said nothing."""
    counters: Counters
    # identity material
    message_id: str | None = None
    request_id: str | None = None
    cumulative: Vector | None = None
    """Codex ``total_token_usage`` as logged."""
    last: Vector | None = None
    """Codex ``last_token_usage`` as logged."""
    by_content: bool = False
    """True where the log gives no identity: (record_sha256, n-th equal row in its file) stands for one."""
    file_rule: str | None = None
    """Rule by which the row's own file already shows that it bills nothing (``codex.repeated_total``, ...)."""
    is_sidechain: bool = False
    is_progress: bool = False
    # context
    parent_session_id: str | None = None
    agent_id: str | None = None
    cwd: str | None = None
    git_branch: str | None = None
    client_version: str | None = None
    service_tier: str | None = None
    speed: str | None = None
    reported_cost_nano: int | None = None
    """Cost the log itself states, nano-USD; null = not stated (0 with tokens counts as not stated)."""
    flags: tuple[str, ...] = ()
    raw_usage: str | None = None
    """The log's own usage object, numbers and enums only."""
    is_estimated: bool = False
    # what only some clients tell
    upstream: str | None = None
    """Who served the request, in the log's own small letters (``anthropic``, ``openrouter``); null = not told."""
    locator: str | None = None
    """Where the row stands in a source without lines: a JSON pointer, or table, key and columns as JSON."""
    source_rank: int = 0
    """0 for the exact source of a request; what is only a weaker witness of it ranks higher and gives way."""
    links: tuple[str, ...] = ()
    """Names under which records of other sources tell of the same request (``ingest.witnesses``)."""
    joins: str | None = None
    """Client whose own logs are the better source of the session, so that both have to be compared."""
    latency_ms: int | None = None
    """Milliseconds from the request to the end of its answer."""
    ttft_ms: int | None = None
    """Milliseconds to the first token."""
    status: str | None = None
    """``ok`` or ``error`` where the log tells; null = not told."""
    account_hash: str | None = None
    """Stands for the account that was billed; never the account itself."""
    billing_kind: str | None = None
    """``api``, ``included`` or ``overage`` where the log tells."""
    is_sum: bool = False
    """True where the counters are those of several requests together, which no price tier of one request fits."""


class Bad(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A bad record: position, hash and reason; never its bytes."""

    byte_offset: int
    byte_length: int
    record_sha256: str
    reason: str
