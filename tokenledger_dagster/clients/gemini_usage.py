"""Usage as the Gemini API counts it, which Gemini CLI and Qwen Code both log.

Here: how prompt, candidates, cached, thoughts and tool prompt tokens become disjoint counters, and the name under which
other sources know the same request.  Not here: where the numbers stand in a log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tokenledger_dagster.clients import values
from tokenledger_dagster.contracts.record import Counters

Names = tuple[str, str, str, str, str, str]
"""Keys of prompt, candidates, cached, thoughts, tool prompt and total tokens."""


def counters_of(usage: Mapping[str, Any], names: Names, flags: list[str], *, thoughts_may_be_inside: bool) -> Counters:
    """Disjoint counters; the total decides what it can, and flags say what had to be assumed.

    - Cached tokens are part of the prompt, unless the total only fits with them beside it.
    - Thoughts are billed as output and not part of the candidates, unless (where the backend may be another than
      Gemini) the total only fits with them inside.
    - Where nothing but a total is told, it counts as output.
    """
    prompt, candidates, cached, thoughts, tool, total = (values.count(usage.get(name), flags.append) for name in names)
    if total and not (prompt or candidates or cached or thoughts or tool):
        flags.append("only_total_known")
        return Counters(output_tokens=total)
    output = candidates + thoughts
    if (
        thoughts_may_be_inside
        and 0 < thoughts <= candidates
        and total
        in (
            prompt + candidates + tool,
            prompt + candidates + tool + cached,
        )
    ):
        output = candidates
    if cached and total != prompt + output + tool + cached:
        if cached > prompt:
            flags.append("cache_above_input")
            cached = prompt
        prompt -= cached
    return Counters(
        input_tokens=prompt,
        output_tokens=output,
        cache_read_tokens=cached,
        tool_input_tokens=tool,
        reasoning_tokens=thoughts,
    )


def request_link(client: str, session: str, model: str | None, counters: Sequence[int]) -> str:
    """The name of a request by its session, model and counters, the one thing its log and its telemetry both tell.

    ``counters`` are in the order of ``Counters``.  A session's requests of equal counters share a name: where the log
    shows one of them it shows them all.
    """
    fresh, output, _, read, tool, _, _, thoughts, _ = counters
    return f"{client}:request:{session}:{model or ''}:{fresh}:{read}:{tool}:{output}:{thoughts}"


def session_link(client: str, session: str) -> str:
    """The name of all that a session's own log shows."""
    return f"{client}:session:{session}"
