"""Made-up Claude Code transcripts, laid out as the client writes them, with the truth of every request.

Here: a session that goes on request by request, and its subagents.  Not here: files and sizes (``bench.corpus``).
Layout: ``docs/clients/claude-code.md``.
"""

from __future__ import annotations

import random

from tokenledger_dagster.bench.clock import day_of, stamp
from tokenledger_dagster.bench.truth import Cell, Truth
from tokenledger_dagster.bench.workload import Prose, Workload, pick, uuid

_HISTORY_BYTES = 200_000
"""How much of a session's end a resumed one copies at most."""


class ClaudeSession:
    """One transcript that can always go on."""

    def __init__(self, work: Workload, prose: Prose, truth: Truth, rng: random.Random, start_ms: int) -> None:
        self._work, self._prose, self._truth, self._rng = work, prose, truth, rng
        self.session = uuid(rng)
        self.project = rng.choice(work.projects)
        self.clock_ms = start_ms
        self.side_files: list[tuple[str, list[bytes]]] = []
        """Subagents' transcripts that are due: path below the session's folder, rows."""
        self.history: list[bytes] = []
        """The latest rows, for a session that resumes this one."""
        self._history_bytes = 0
        self._model = pick(rng, work.claude.models)
        self._context = rng.randrange(12_000, 20_000)
        self._parent = "null"
        self._agent: str | None = None
        self._common = self._named(rng.choice(work.claude.versions), rng.choice(work.branches))

    def _named(self, version: str, branch: str) -> str:
        side, agent = ("true", f'"agentId":"{self._agent}",') if self._agent else ("false", "")
        return (
            f'"isSidechain":{side},"userType":"external","cwd":"/home/ada/code/{self.project}",'
            f'"sessionId":"{self.session}","version":"{version}","gitBranch":"{branch}",{agent}'
        )

    @property
    def path(self) -> str:
        """Path below the agents' HOME."""
        return f".claude/projects/-home-ada-code-{self.project}/{self.session}.jsonl"

    @property
    def side_folder(self) -> str:
        """Where its subagents' transcripts lie, below the agents' HOME."""
        return f"{self.path.removesuffix('.jsonl')}/subagents"

    def open(self) -> list[bytes]:
        """The rows a transcript begins with."""
        title = self._prose.take(self._rng, 40).replace(b"\\n", b" ")[:60].rpartition(b" ")[0].replace(b"\\", b"")
        leaf, message = uuid(self._rng), uuid(self._rng)
        when = stamp(self.clock_ms)
        snapshot = f'{{"messageId":"{message}","trackedFileBackups":{{}},"timestamp":"{when}"}}'
        return [
            b'{"type":"summary","summary":"%s","leafUuid":"%s"}\n' % (title.replace(b'"', b""), leaf.encode()),
            f'{{"type":"file-history-snapshot","messageId":"{message}","snapshot":{snapshot},'
            '"isSnapshotUpdate":false}\n'.encode(),
        ]

    def resume(self, other: ClaudeSession) -> list[bytes]:
        """The end of another session, copied under this one's name as ``--resume`` does: no new request."""
        self.project, self._parent = other.project, other._parent
        self.clock_ms = max(self.clock_ms, other.clock_ms + 60_000)
        self._common = self._named(self._rng.choice(self._work.claude.versions), "main")
        old, new = other.session.encode(), self.session.encode()
        copied = [row.replace(old, new) for row in other.history]
        self._truth.usage_rows += sum(b'"requestId":"' in row for row in copied)
        return copied

    def step(self) -> list[bytes]:
        """The rows of one more request: its streamed copies, the tool's result, now and then a prompt or a helper."""
        rng, rows = self._rng, []
        self.clock_ms += rng.randrange(2_000, 25_000)
        if rng.random() < 0.15 or self._parent == "null":
            self.clock_ms += rng.randrange(5_000, 400_000)
            rows.append(self._user(b'"%s"' % self._prose.take(rng, rng.expovariate(1 / 400)), b""))
        rows += self._request()
        if self._agent is None:
            if rng.random() < self._work.claude.subagent_chance:
                rows += self._helper()
            elif rng.random() < self._work.claude.progress_chance:
                rows.append(self._hook())
        self._remember(rows)
        return rows

    # ---------------------------------------------------------------- rows

    def _head(self, kind: str) -> str:
        """Everything before a row's own keys; the row becomes the parent of the next."""
        mine = uuid(self._rng)
        head = f'{{"parentUuid":{self._parent},{self._common}"type":"{kind}","uuid":"{mine}",'
        self._parent = f'"{mine}"'
        return f'{head}"timestamp":"{stamp(self.clock_ms)}",'

    def _user(self, content: bytes, rest: bytes) -> bytes:
        return b'%s"message":{"role":"user","content":%s}%s}\n' % (self._head("user").encode(), content, rest)

    def _request(self) -> list[bytes]:
        rng = self._rng
        # one session in a long while changes its model, as /model does
        if self._agent is None and rng.random() < 0.01:
            self._model = pick(rng, self._work.claude.models)
        write = rng.randrange(150, 6_000)
        hour = write // 2 if rng.random() < 0.1 else 0
        final = rng.randrange(20, 1_800)
        request = Cell(
            event_count=1,
            input_tokens=rng.randrange(1, 40),
            output_tokens=final,
            cache_write_tokens=write,
            cache_read_tokens=self._context,
            cache_write_1h_tokens=hour,
        )
        self._truth.add(day_of(self.clock_ms), self._model, request)
        self._context = self._context + write if self._context < 160_000 else rng.randrange(12_000, 20_000)
        tool = f"toolu_01{rng.getrandbits(88):022x}"
        blocks = self._blocks(tool)
        message, name = f"msg_01{rng.getrandbits(88):022x}", f"req_011{rng.getrandbits(84):021x}"
        self._truth.usage_rows += len(blocks)
        rows, output = [], rng.randrange(1, 9)
        for number, block in enumerate(blocks, 1):
            output = final if number == len(blocks) else output
            rows.append(self._assistant(block, message, name, request, output))
            self.clock_ms += rng.randrange(300, 2_500)
        rows.append(self._result(tool))
        return rows

    def _blocks(self, tool: str) -> list[bytes]:
        """Content blocks of a message; the client writes a row for each."""
        rng, take = self._rng, self._prose.take
        name = rng.choice(self._work.claude.tools)
        blocks = [
            b'{"type":"tool_use","id":"%s","name":"%s","input":{"file_path":"/home/ada/code/%s/src/%d.ts","note":"%s"}}'
            % (tool.encode(), name.encode(), self.project.encode(), rng.randrange(400), take(rng, 60))
        ]
        if rng.random() < 0.6:
            blocks.insert(0, b'{"type":"text","text":"%s"}' % take(rng, rng.expovariate(1 / 250)))
        if rng.random() < 0.4:
            thought = take(rng, rng.expovariate(1 / 400))
            sign = f"{rng.getrandbits(1200):0300x}".encode()
            blocks.insert(0, b'{"type":"thinking","thinking":"%s","signature":"%s"}' % (thought, sign))
        return blocks

    def _assistant(self, block: bytes, message: str, request: str, usage: Cell, output: int) -> bytes:
        five = usage.cache_write_tokens - usage.cache_write_1h_tokens
        counters = (
            f'{{"input_tokens":{usage.input_tokens},"cache_creation_input_tokens":{usage.cache_write_tokens},'
            f'"cache_read_input_tokens":{usage.cache_read_tokens},"cache_creation":{{"ephemeral_5m_input_tokens":{five},'
            f'"ephemeral_1h_input_tokens":{usage.cache_write_1h_tokens}}},"output_tokens":{output},'
            '"service_tier":"standard","inference_geo":"global"}'
        )
        opening = (
            f'{self._head("assistant")}"message":{{"model":"{self._model}","id":"{message}","type":"message",'
            '"role":"assistant","content":['
        )
        closing = f'],"stop_reason":null,"stop_sequence":null,"usage":{counters}}},"requestId":"{request}"}}\n'
        return b"%s%s%s" % (opening.encode(), block, closing.encode())

    def _result(self, tool: str) -> bytes:
        rng = self._rng
        text = self._prose.take(rng, rng.expovariate(1 / self._work.claude.mean_result_bytes))
        content = b'[{"tool_use_id":"%s","type":"tool_result","content":"%s","is_error":false}]' % (tool.encode(), text)
        # the client keeps the tool's own output beside what the model was told
        rest = b',"toolUseResult":{"stdout":"%s","stderr":"","interrupted":false,"isImage":false}' % text
        return self._user(content, rest)

    def _hook(self) -> bytes:
        rng = self._rng
        return (
            f'{self._head("progress")}"parentToolUseID":"toolu_01{rng.getrandbits(88):022x}","toolUseID":'
            f'"hook_{rng.getrandbits(32):08x}","data":{{"type":"hook_progress","hookEvent":"PostToolUse",'
            '"hookName":"PostToolUse:Edit","command":"format"}}\n'
        ).encode()

    # ---------------------------------------------------------------- helpers and history

    def _helper(self) -> list[bytes]:
        """A subagent's whole transcript, and the progress rows by which this one repeats its messages."""
        rng = self._rng
        helper = ClaudeSession(self._work, self._prose, self._truth, rng, self.clock_ms)
        helper.session, helper.project = self.session, self.project
        helper._agent = f"{rng.getrandbits(28):07x}"
        helper._model = self._work.claude.subagent_model
        helper._common = helper._named(self._work.claude.versions[0], "main")
        written = [row for _ in range(rng.randrange(2, 14)) for row in helper.step()]
        self.clock_ms = helper.clock_ms
        self.side_files.append((f"agent-{helper._agent}.jsonl", written))
        repeated = [row for row in written if b'"type":"assistant"' in row and rng.random() < 0.5]
        self._truth.usage_rows += len(repeated)
        return [self._progress(row, helper._agent) for row in repeated]

    def _progress(self, row: bytes, agent: str) -> bytes:
        """A row of a subagent as its parent repeats it: time, ids and message, under ``data``."""
        own = row.index(b'"uuid":"')
        message = row.index(b'"message":{"model"')
        request = row.rindex(b',"requestId":"')
        time = row.index(b'"timestamp":"', own)
        ids = row[time:message], row[own:time], row[request + 1 : -2], row[message:request]
        nested = b'{"type":"assistant",%s%s%s,%s}' % ids
        opening = (
            f'{self._head("progress")}"parentToolUseID":"toolu_01{self._rng.getrandbits(88):022x}","toolUseID":'
            f'"agent_{self._rng.getrandbits(32):08x}","data":{{"type":"agent_progress","agentId":"{agent}","prompt":"'
        )
        return b'%s%s","message":%s}}\n' % (opening.encode(), self._prose.take(self._rng, 40), nested)

    def _remember(self, rows: list[bytes]) -> None:
        if self._agent is not None:
            return
        self.history += rows
        self._history_bytes += sum(map(len, rows))
        while self._history_bytes > _HISTORY_BYTES:
            self._history_bytes -= len(self.history.pop(0))
