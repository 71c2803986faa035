"""Spans and log records inside the shapes that telemetry is exported in.

Here: OTLP/JSON containers and the flat objects of SDK exporters, down to single elements with their attributes as plain
values.  Not here: what an element tells of (``clients.otel_requests``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from tokenledger_dagster.clients import values
from tokenledger_dagster.clients.documents import Part

Kind = Literal["span", "log", "metric"]
_CONTAINERS: tuple[tuple[str, tuple[str, ...], tuple[str, ...], Kind], ...] = (
    ("resourceSpans", ("scopeSpans", "instrumentationLibrarySpans"), ("spans",), "span"),
    ("resourceLogs", ("scopeLogs", "instrumentationLibraryLogs"), ("logRecords", "logs"), "log"),
    ("resourceMetrics", ("scopeMetrics", "instrumentationLibraryMetrics"), ("metrics",), "metric"),
)
"""Member of an OTLP document, of a resource, and of a scope; the second names are those of OTLP before 0.15."""
_STARTS = ("startTimeUnixNano", "startTime", "start_time")
_ENDS = ("endTimeUnixNano", "endTime", "_endTime", "end_time")
_LOGGED = ("timeUnixNano", "hrTime", "timestamp", "observedTimeUnixNano", "hrTimeObserved", "observed_timestamp")
_LOG_ONLY = ("hrTime", "timeUnixNano", "_body", "severityNumber", "severity_number", "eventName")
_TEXTS = ("stringValue", "intValue", "doubleValue", "boolValue")
_DEPTH = 6


class Element:
    """One span, log record or metric."""

    def __init__(self, kind: Kind, part: Part, fields: Mapping[str, Any], resource: Mapping[str, Any]) -> None:
        self.kind = kind
        self.part = part
        self.fields = fields
        self.resource = resource
        """Attributes of whoever sent it."""
        self.attributes = plain_attributes(fields.get("attributes"))

    def text(self, *names: str) -> str | None:
        """The first of these attributes that is a usable text, or a number as text."""
        for name in names:
            value = self.attributes.get(name)
            if isinstance(value, int) and not isinstance(value, bool):
                return str(value)
            if (found := values.text(value)) is not None:
                return found
        return None

    @property
    def name(self) -> str:
        """A span's name; a log record's event name, also where only its body holds it."""
        if self.kind == "span":
            return values.text(self.fields.get("name")) or ""
        body = _unwrapped(self.fields.get("body", self.fields.get("_body")), 0)
        event = self.text("event.name", "event_name")
        named = values.text(self.fields.get("eventName")) or values.text(self.fields.get("event_name"))
        return event or named or (body if isinstance(body, str) and len(body) <= 128 else "")

    @property
    def service(self) -> str:
        """The service that sent it, in small letters."""
        return str(self.resource.get("service.name") or self.attributes.get("service.name") or "").lower()

    @property
    def context(self) -> tuple[str | None, str | None, str | None]:
        """Trace, span and parent span; ids that are only zeros are none."""
        fields = self.fields
        holders = (fields.get(name) for name in ("spanContext", "_spanContext", "context"))
        inner: dict[str, Any] = next((holder for holder in holders if isinstance(holder, dict)), {})
        parent = fields.get("parentSpanContext")
        found = (
            fields.get("traceId") or fields.get("trace_id") or inner.get("traceId") or inner.get("trace_id"),
            fields.get("spanId") or fields.get("span_id") or inner.get("spanId") or inner.get("span_id"),
            fields.get("parentSpanId")
            or fields.get("parent_id")
            or (parent.get("spanId") if isinstance(parent, dict) else None),
        )
        return tuple(_id(one) for one in found)  # type: ignore[return-value]

    def time_us(self) -> int | None:
        """When the answer was complete: the event's own time, the end of the span; None where nothing tells."""
        fields = self.fields
        own = _ENDS + _STARTS if self.kind == "span" else _LOGGED
        asked = (self.attributes.get("event.timestamp"), *(fields.get(name) for name in own))
        return next((time for value in asked if (time := _time(value))), None)

    def span_us(self) -> int | None:
        """How long the span took, in microseconds."""
        first, last = (
            next((time for name in names if (time := _time(self.fields.get(name)))), None) for names in (_STARTS, _ENDS)
        )
        return last - first if first and last and last >= first else None


def elements(part: Part, *, every: bool = False) -> Iterator[Element]:
    """The elements of a line or document that may bear counts (or ``every`` one), in order.

    What is none of the known shapes yields nothing.
    """
    if part.raw[:1] == b"[":
        for one in part.elements():
            yield from elements(one, every=every)
        return
    members = part.members()
    known = [container for container in _CONTAINERS if container[0] in members]
    for name, scopes, leaves, kind in known:
        for holder in members[name].elements():
            resource = holder.get("resource", "attributes")
            attributes = plain_attributes(resource.value) if resource is not None else {}
            for scope in _below(holder, scopes):
                for leaf in _below(scope, leaves):
                    if kind == "metric":
                        yield Element(kind, leaf, {}, attributes)
                    elif (every or b"oken" in leaf.raw) and isinstance(fields := leaf.value, dict):
                        yield Element(kind, leaf, fields, attributes)
    if not known and members:
        found = part.value
        if isinstance(found, dict) and (flat := _flat(found)) is not None:
            yield Element(flat, part, found, _flat_resource(found))


def is_telemetry(part: Part) -> bool:
    """Whether a line or document has one of the shapes of an export, whatever is in it."""
    if part.raw[:1] == b"[":
        return any(is_telemetry(one) for one in part.elements())
    found = part.value
    return isinstance(found, dict) and (any(name in found for name, *_ in _CONTAINERS) or _flat(found) is not None)


def plain_attributes(found: Any) -> dict[str, Any]:
    """Attributes as plain values by dotted name, from OTLP's list of pairs or from an object, nested ones too."""
    plain: dict[str, Any] = {}
    if isinstance(found, list):
        for one in found:
            if isinstance(one, dict) and isinstance(one.get("key"), str):
                plain[one["key"]] = _unwrapped(one.get("value"), 0)
    elif isinstance(found, dict):
        _flatten(found, "", plain, 0)
    return plain


def _below(part: Part, names: tuple[str, ...]) -> Iterator[Part]:
    members = part.members()
    for name in names:
        if name in members:
            yield from members[name].elements()


def _flat(found: dict[str, Any]) -> Kind | None:
    """What a flat object of an SDK's exporter is."""
    told = found.get("type")
    if told == "metric" or "dataPoints" in found or "aggregationTemporality" in found or "scopeMetrics" in found:
        return "metric"
    if told == "log" or any(name in found for name in _LOG_ONLY):
        return "log"
    if told == "span" or any(
        name in found for name in ("traceId", "trace_id", "spanContext", "_spanContext", "context")
    ):
        return "log" if "body" in found and "name" not in found else "span"
    return "log" if "attributes" in found else None


def _flat_resource(found: dict[str, Any]) -> dict[str, Any]:
    resource = found.get("resource")
    if not isinstance(resource, dict):
        return {}
    for name in ("attributes", "_attributes", "_rawAttributes"):
        inner = resource.get(name)
        if isinstance(inner, list) and inner and isinstance(inner[0], list):
            return {pair[0]: pair[1] for pair in inner if len(pair) == 2 and isinstance(pair[0], str)}
        if inner is not None:
            return plain_attributes(inner)
    return plain_attributes(resource)


def _flatten(found: dict[str, Any], prefix: str, plain: dict[str, Any], depth: int) -> None:
    for key, value in found.items():
        unwrapped = _unwrapped(value, 0)
        if isinstance(unwrapped, dict) and depth < _DEPTH:
            _flatten(unwrapped, f"{prefix}{key}.", plain, depth + 1)
        else:
            plain[f"{prefix}{key}"] = unwrapped


def _unwrapped(value: Any, depth: int) -> Any:
    """An attribute's value out of OTLP's wrapping; lists and other deep values are of no use and left as they are."""
    if isinstance(value, dict):
        for name in _TEXTS:
            if name in value:
                return value[name]
        pairs = value.get("kvlistValue")
        if isinstance(pairs, dict) and depth < _DEPTH:
            listed = pairs.get("values")
            return {
                one["key"]: _unwrapped(one.get("value"), depth + 1)
                for one in (listed if isinstance(listed, list) else [])
                if isinstance(one, dict) and isinstance(one.get("key"), str)
            }
    return value


def _time(value: Any) -> int | None:
    """Microseconds since 1970; None for no time at all, which OTLP writes as 0."""
    if isinstance(value, list):
        if len(value) == 2 and all(isinstance(one, int) and not isinstance(one, bool) for one in value):
            return values.time_us(value[0] * 1_000_000_000 + value[1]) or None
        return None
    return values.time_us(value) or None


def _id(value: Any) -> str | None:
    text = values.text(value, 64)
    return text if text is not None and text.removeprefix("0x").strip("0") else None
