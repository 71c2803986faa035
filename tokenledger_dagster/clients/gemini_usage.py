"""Usage as the Gemini API counts it, which Gemini CLI and Qwen Code both log, and send as telemetry.

Here: how prompt, candidates, cached, thoughts and tool prompt tokens become disjoint counters.  Not here: where the
numbers stand in a log.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenledger_dagster.clients import values
from tokenledger_dagster.contracts.record import Counters

Names = tuple[str, str, str, str, str, str]
"""Keys of prompt, candidates, cached, thoughts, tool prompt and total tokens."""


def counters_of(usage: Mapping[str, Any], names: Names, flag: values.Flag) -> Counters:
    """Disjoint counters; the total decides what it can, and flags say what had to be assumed.

    - Cached tokens are part of the prompt, unless the total only fits with them beside it.
    - Thoughts are billed as output and not part of the candidates, unless the total only fits with them inside, as
      backends other than Gemini count them.
    - Where nothing but a total is told, it counts as output.
    """
    prompt, candidates, cached, thoughts, tool, total = (values.count(usage.get(name), flag) for name in names)
    if total and not (prompt or candidates or cached or thoughts or tool):
        flag("only_total_known")
        return Counters(output_tokens=total)
    inside = prompt + candidates + tool
    beside = inside + thoughts
    if 0 < thoughts <= candidates and total not in (beside, beside + cached) and total in (inside, inside + cached):
        output = candidates
    else:
        output = candidates + thoughts
    if cached and total != prompt + output + tool + cached:
        if cached > prompt:
            flag("cache_above_input")
            cached = prompt
        prompt -= cached
    return Counters(
        input_tokens=prompt,
        output_tokens=output,
        cache_read_tokens=cached,
        tool_input_tokens=tool,
        reasoning_tokens=thoughts,
    )
