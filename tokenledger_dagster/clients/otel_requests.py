"""Which spans and log records tell of a model request, how good a witness each is, and whose request it was.

Here: telling kinds apart, and the identity and links of a request.  Not here: containers (``clients.otel_elements``),
counters (``clients.otel_counters``), or which witness wins (``ingest.witnesses``).  Facts and sources:
``docs/clients/opentelemetry.md``.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from tokenledger_dagster.clients import link_names, values
from tokenledger_dagster.clients.otel_counters import Convention
from tokenledger_dagster.clients.otel_elements import Element
from tokenledger_dagster.clients.veil import digest
from tokenledger_dagster.contracts.record import Counters

CALL, DETAILS, TURN, AGENT, PART = 10, 11, 12, 13, 14
"""Ranks of witnesses: a call's own span or event, its inference details, a turn's sums, an agent's sums, and sums of an
agent that itself has a parent, which that one's sums repeat."""

_CALLS = frozenset({"chat", "text_completion", "completion", "generate_content", "embeddings", "embedding"})
_NO_REQUESTS = frozenset({"execute_tool", "create_agent", "tool", "retriever", "reranker", "guardrail", "evaluator"})
_CLAUDE_EVENTS = frozenset({"claude_code.api_request", "api_request"})
_CODEX_EVENTS = frozenset(f"codex.{name}" for name in ("sse_event", "websocket_event"))
_API_RESPONSES = {"gemini-cli": ("gemini-cli", "google"), "qwen-code": ("qwen-code", "qwen")}
"""Client and upstream by what stands before ``.api_response``; releases differ in hyphens and underscores."""
_SERVICES = (("claude", "anthropic"), ("codex", "openai"), ("gemini", "google"), ("qwen", "qwen"))
_COPILOT = ("copilot_chat.", "github.copilot.")
_MODELS = (
    "gen_ai.response.model",
    "gen_ai.request.model",
    "llm.response.model",
    "llm.model_name",
    "llm.request.model",
    "embedding.model_name",
    "model",
    "slug",
)
_SESSIONS = ("gen_ai.conversation.id", "conversation.id", "session.id", "copilot_chat.session_id")


class Told(msgspec.Struct, frozen=True):
    """What kind of witness an element is."""

    convention: Convention
    rank: int
    client: str | None = None
    """The client whose own logs are the better source, where there is one."""
    upstream: str | None = None


def told_by(element: Element) -> Told | None:
    """The kind of an element; None where it tells of no request."""
    return _span(element) if element.kind == "span" else _log(element)


def _span(element: Element) -> Told | None:
    name = element.name.lower()
    if name == "claude_code.llm_request":
        return Told("claude", DETAILS, "claude-code", "anthropic")
    asked = element.text("gen_ai.operation.name", "openinference.span.kind")
    if asked is None:
        asked = "chat" if element.text("llm.request.type") else name.split(" ", 1)[0]
    asked = asked.lower()
    if asked in _NO_REQUESTS:
        return None
    # an agent, a chain, or something new: what it sums up counts only where no call is shown
    sums = AGENT if element.context[2] is None else PART
    rank = CALL if asked in _CALLS or asked == "llm" else sums
    return Told("gen_ai", rank, _copilot(element), _upstream(element))


def _log(element: Element) -> Told | None:
    name = element.name
    if name in _CLAUDE_EVENTS:
        return Told("claude", CALL, "claude-code", "anthropic")
    if name in _CODEX_EVENTS:
        if element.text("event.kind") != "response.completed":
            return None
        return Told("codex", CALL, "codex", "openai")
    program, _, answered = name.rpartition(".")
    if answered == "api_response" and (known := _API_RESPONSES.get(program.replace("_", "-"))):
        return Told("gemini", CALL, *known)
    if name == "gen_ai.client.inference.operation.details":
        operation = (element.text("gen_ai.operation.name") or "chat").lower()
        if operation in _NO_REQUESTS:
            return None
        return Told("gen_ai", AGENT if operation == "invoke_agent" else DETAILS, _copilot(element), _upstream(element))
    if name == "copilot_chat.agent.turn":
        return Told("gen_ai", TURN, "copilot-cli", "github-copilot")
    return None


def _copilot(element: Element) -> str | None:
    """``copilot-cli`` where GitHub Copilot sent it: it serves whatever model it names."""
    if "copilot" in element.service or any(name.startswith(_COPILOT) for name in element.attributes):
        return "copilot-cli"
    return None


def _upstream(element: Element) -> str | None:
    if _copilot(element):
        return "github-copilot"
    named = element.text("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system")
    told = values.upstream(named.strip()) if named is not None else None
    return told or next((upstream for start, upstream in _SERVICES if element.service.startswith(start)), None)


def model_of(element: Element) -> str | None:
    """The model that answered, else the one that was asked."""
    return element.text(*_MODELS)


def session_of(element: Element) -> str | None:
    """The session's name; None where none is told."""
    return element.text(*_SESSIONS)


class Identity(msgspec.Struct, frozen=True):
    """What makes two records the same request."""

    message_id: str | None = None
    request_id: str | None = None

    @property
    def by_content(self) -> bool:
        """Whether nothing but the record's own bytes tells it from others."""
        return self.message_id is None and self.request_id is None


def identity_of(element: Element, told: Told, session: str | None, time_us: int | None, counters: Counters) -> Identity:
    """The request's or response's id, else the span, else the event's place in its session.

    A log record shares its span with others, and a sequence begins anew when a session is resumed in another process:
    there the counters, or the time, are part of the identity.
    """
    if told.convention == "claude":
        request = element.text("request_id", "request.id")
        if request is not None:
            return Identity(request_id=request)
    elif (response := element.text("gen_ai.response.id", "response_id", "response.id", "llm.response.id")) is not None:
        return Identity(message_id=response)
    trace, span, _ = element.context
    if element.kind == "span":
        return Identity(message_id=f"{trace}:{span}") if trace and span else Identity()
    sequence = element.text("event.sequence")
    if sequence is not None and session is not None:
        return Identity(message_id=f"{session}#{sequence}@{time_us}")
    sums = ":".join(map(str, msgspec.structs.astuple(counters)[:6]))
    if trace and span:
        return Identity(message_id=f"{trace}:{span}:{sums}")
    if session is not None and time_us is not None:
        return Identity(message_id=f"{session}@{time_us}:{model_of(element)}:{sums}")
    return Identity()


def links_of(
    element: Element, told: Told, session: str | None, time_us: int | None, identity: Identity, counters: Counters
) -> Iterator[str]:
    """Names under which other witnesses, and the client's own logs, know the request; ``session``: None if made up."""
    plain = msgspec.structs.astuple(counters)
    if told.convention == "codex":
        if session is not None:
            yield link_names.codex_counters(session, plain)
        return
    if told.convention == "claude":
        if identity.request_id is not None:
            yield link_names.claude_request(identity.request_id)
        if session is not None:
            # where both sides have an id only that one tells; a transcript's row without one is told by what was sent
            yield link_names.claude_prompt(session, plain, without_id=identity.request_id is not None)
        return
    trace = element.context[0]
    if trace is not None:
        yield f"otel-trace:{trace}"
    if identity.message_id is not None:
        yield f"otel-response:{identity.message_id}"
    if session is None:
        return
    if told.client == "copilot-cli":
        # its own logs tell of sessions, not of requests, and its log records are not always in the trace of the call
        yield link_names.copilot_session(session)
        yield link_names.copilot_telemetry(session)
    elif told.client is not None:
        yield link_names.prompt(told.client, session, plain)
        yield link_names.request(told.client, session, model_of(element), plain)
    if element.kind == "log" and time_us is not None and told.rank in (CALL, DETAILS):
        # Gemini CLI and its forks log each answer twice, once in their own words and once in the conventions'
        yield f"otel-moment:{session}:{time_us}"


def account_of(element: Element) -> str | None:
    """A hash that stands for the account; the account itself is never kept."""
    for name in ("user.account_uuid", "user.account_id", "organization.id"):
        value = element.text(name)
        if value is not None:
            return digest(value)
    return None
