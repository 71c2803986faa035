"""Made-up Codex rollouts, laid out as the client writes them, with the truth of every request.

Here: a thread that goes on request by request, and forks that copy its beginning.  Not here: files and sizes
(``bench.corpus``).  Layout: ``docs/clients/codex.md``.
"""

from __future__ import annotations

import random

from tokenledger_dagster.bench.clock import day_of, stamp
from tokenledger_dagster.bench.truth import Cell, Truth
from tokenledger_dagster.bench.workload import Prose, Workload, pick, uuid

_PREFIX_BYTES = 200_000
"""How much of a thread's beginning a fork copies at most."""
_TIME_AT, _TIME_END = len('{"timestamp":"'), len('{"timestamp":"2026-01-01T00:00:00.000Z')

Usage = tuple[int, int, int, int]
"""Input, cached, output, reasoning: cached is inside input, reasoning inside output."""


class CodexThread:
    """One rollout that can always go on."""

    def __init__(self, work: Workload, prose: Prose, truth: Truth, rng: random.Random, start_ms: int) -> None:
        self._work, self._prose, self._truth, self._rng = work, prose, truth, rng
        self.session = uuid(rng)
        self.project = rng.choice(work.projects)
        self.clock_ms = self._started_ms = start_ms
        self.side_files: list[tuple[str, list[bytes]]] = []
        self.prefix: list[bytes] = []
        """The first rows, for a thread that is forked from this one."""
        self._prefix_bytes = 0
        self._prefix_rows = 0
        self._prefix_total: Usage = (0, 0, 0, 0)
        self._total: Usage = (0, 0, 0, 0)
        self._model = pick(rng, work.codex.models)
        self._context = rng.randrange(9_000, 16_000)
        self._version = rng.choice(work.codex.versions)
        self._percent = rng.random() * 40

    @property
    def path(self) -> str:
        """Path below the agents' HOME."""
        when = stamp(self._started_ms)
        name = f"rollout-{when[:19].replace(':', '-')}-{self.session}.jsonl"
        return f".codex/sessions/{when[:10].replace('-', '/')}/{name}"

    @property
    def side_folder(self) -> str:
        """No other files: a spawned thread is a rollout like any other."""
        return self.path.rpartition("/")[0]

    def open(self) -> list[bytes]:
        """The rows a rollout begins with."""
        rows = [self._meta(None), self._turn()]
        self._remember(rows)
        return rows

    def fork(self, parent: CodexThread) -> list[bytes]:
        """A fork's beginning: its own name, then the parent's first rows with new times: no new request."""
        self.project, self._model, self._total = parent.project, parent._model, parent._prefix_total
        # a copied row's booked time is the earliest one told: the parent's
        self.clock_ms = self._started_ms = max(self.clock_ms, parent.clock_ms + 60_000)
        rows = [self._meta(parent.session)]
        for row in parent.prefix:
            self.clock_ms += 1
            rows.append(b"%s%s%s" % (row[:_TIME_AT], stamp(self.clock_ms).encode(), row[_TIME_END:]))
        self._truth.usage_rows += parent._prefix_rows
        return [*rows, self._turn()]

    def step(self) -> list[bytes]:
        """The rows of one more request: prompt now and then, reasoning, tool call and output, counters."""
        rng, work, rows = self._rng, self._work.codex, []
        self.clock_ms += rng.randrange(1_500, 20_000)
        if rng.random() < 0.15 or self._total[0] == 0:
            rows += self._prompt()
        if rng.random() < work.heartbeat_chance:
            rows.append(self._counters(None))
        rows += self._work_rows()
        last = self._request()
        rows.append(self._counters(last))
        repeats = int(rng.random() < work.repeat_chance)
        for _ in range(repeats):
            self.clock_ms += rng.randrange(200, 90_000)
            rows.append(self._counters(last))
        self._truth.usage_rows += 1 + repeats
        if rng.random() < work.compacted_chance:
            rows.append(self._compacted())
        self._remember(rows, 1 + repeats)
        return rows

    # ---------------------------------------------------------------- rows

    def _row(self, kind: str, payload: bytes) -> bytes:
        return b'{"timestamp":"%s","type":"%s","payload":%s}\n' % (
            stamp(self.clock_ms).encode(),
            kind.encode(),
            payload,
        )

    def _meta(self, parent: str | None) -> bytes:
        fork = f',"forked_from_id":"{parent}"' if parent else ""
        commit = f"{self._rng.getrandbits(160):040x}"
        opening = (
            f'{{"id":"{self.session}","timestamp":"{stamp(self.clock_ms)}","cwd":"/home/ada/code/{self.project}",'
            f'"originator":"codex_cli_rs","cli_version":"{self._version}","source":"cli","model_provider":"openai",'
            '"base_instructions":{"text":"'
        )
        closing = (
            f'"}},"git":{{"commit_hash":"{commit}","branch":"main",'
            f'"repository_url":"https://git.example/ada/{self.project}.git"}}{fork}}}'
        )
        told = self._prose.take(self._rng, self._work.codex.instructions_bytes)
        return self._row("session_meta", b"%s%s%s" % (opening.encode(), told, closing.encode()))

    def _turn(self) -> bytes:
        return self._row(
            "turn_context",
            (
                f'{{"turn_id":"{uuid(self._rng)}","cwd":"/home/ada/code/{self.project}","approval_policy":"on-request",'
                '"sandbox_policy":{"type":"workspace-write","network_access":false,"exclude_tmpdir_env_var":false,'
                f'"exclude_slash_tmp":false}},"model":"{self._model}","personality":"pragmatic","effort":"medium",'
                '"summary":"auto","truncation_policy":{"mode":"tokens","limit":10000}}'
            ).encode(),
        )

    def _prompt(self) -> list[bytes]:
        rng = self._rng
        self.clock_ms += rng.randrange(4_000, 300_000)
        if rng.random() < 0.05:
            self._model = pick(rng, self._work.codex.models)
        text = self._prose.take(rng, rng.expovariate(1 / 300))
        item = b'{"type":"message","role":"user","content":[{"type":"input_text","text":"%s"}]}' % text
        message = b'{"type":"user_message","message":"%s","images":[],"local_images":[],"text_elements":[]}' % text
        return [self._turn(), self._row("response_item", item), self._row("event_msg", message)]

    def _work_rows(self) -> list[bytes]:
        """Reasoning, a call and its output, what the agent says: most of the bytes, none of the usage."""
        rng, take = self._rng, self._prose.take
        call = f"call_{rng.getrandbits(96):024x}".encode()
        sealed = f"{rng.getrandbits(8_000):02000x}"[: rng.randrange(600, 2_000)].encode()
        thought = take(rng, 60)
        asked = b'{\\"command\\": \\"rg %d\\", \\"workdir\\": \\"/home/ada/code\\"}' % rng.randrange(10_000)
        rows = [
            self._row("event_msg", b'{"type":"agent_reasoning","text":"%s"}' % thought),
            self._row(
                "response_item",
                b'{"type":"reasoning","summary":[{"type":"summary_text","text":"%s"}],"content":null,'
                b'"encrypted_content":"%s"}' % (thought, sealed),
            ),
            self._row(
                "response_item",
                b'{"type":"function_call","name":"shell_command","arguments":"%s","call_id":"%s"}' % (asked, call),
            ),
        ]
        self.clock_ms += rng.randrange(100, 9_000)
        output = take(rng, rng.expovariate(1 / self._work.codex.mean_result_bytes))
        done = b'{"type":"function_call_output","call_id":"%s","output":"Exit code: 0\\nOutput:\\n%s"}' % (call, output)
        rows.append(self._row("response_item", done))
        if rng.random() < 0.2:
            said = take(rng, rng.expovariate(1 / 300))
            item = b'{"type":"message","role":"assistant","content":[{"type":"output_text","text":"%s"}]}' % said
            rows.append(self._row("event_msg", b'{"type":"agent_message","message":"%s"}' % said))
            rows.append(self._row("response_item", item))
        return rows

    def _request(self) -> Usage:
        """One more request: adds it to the truth and to the thread's total."""
        rng = self._rng
        self.clock_ms += rng.randrange(100, 3_000)
        inside = min(self._context, rng.randrange(0, self._context + 1) | 1023)
        output = rng.randrange(30, 2_400)
        last = (self._context, inside, output, rng.randrange(0, output + 1))
        self._context = (
            rng.randrange(9_000, 16_000) if self._context > 230_000 else self._context + rng.randrange(4_000)
        )
        before = self._total
        self._total = (before[0] + last[0], before[1] + last[1], before[2] + last[2], before[3] + last[3])
        request = Cell(
            event_count=1,
            input_tokens=last[0] - last[1],
            output_tokens=last[2],
            cache_read_tokens=last[1],
            reasoning_tokens=last[3],
        )
        self._truth.add(day_of(self.clock_ms), self._model, request)
        return last

    def _counters(self, last: Usage | None) -> bytes:
        """A ``token_count`` row; without ``last`` a heartbeat that tells rate limits only."""
        info = "null"
        if last is not None:
            info = (
                f'{{"total_token_usage":{_vector(self._total)},"last_token_usage":{_vector(last)},'
                '"model_context_window":258400}'
            )
        self._percent = (self._percent + 0.1) % 100
        return self._row(
            "event_msg",
            (
                f'{{"type":"token_count","info":{info},"rate_limits":{{"limit_id":"codex","limit_name":null,"primary":'
                f'{{"used_percent":{self._percent:.1f},"window_minutes":300,"resets_at":1790000000}},"secondary":'
                '{"used_percent":1.0,"window_minutes":10080,"resets_at":1790400000},"credits":{"has_credits":false,'
                '"unlimited":false,"balance":null},"plan_type":"plus"}}'
            ).encode(),
        )

    def _compacted(self) -> bytes:
        rng = self._rng
        texts = [self._prose.take(rng, rng.randrange(1_000, 9_000)) for _ in range(rng.randrange(2, 9))]
        kept = b",".join(
            b'{"type":"message","role":"user","content":[{"type":"input_text","text":"%s"}]}' % text for text in texts
        )
        return self._row("compacted", b'{"message":"","replacement_history":[%s]}' % kept)

    def _remember(self, rows: list[bytes], usage_rows: int = 0) -> None:
        size = sum(map(len, rows))
        if self._prefix_bytes + size > _PREFIX_BYTES:
            self._prefix_bytes = _PREFIX_BYTES  # what comes after the first gap is no prefix any more
            return
        self.prefix += rows
        self._prefix_bytes += size
        self._prefix_rows += usage_rows
        self._prefix_total = self._total


def _vector(usage: Usage) -> str:
    return (
        f'{{"input_tokens":{usage[0]},"cached_input_tokens":{usage[1]},"output_tokens":{usage[2]},'
        f'"reasoning_output_tokens":{usage[3]},"total_tokens":{usage[0] + usage[2]}}}'
    )
