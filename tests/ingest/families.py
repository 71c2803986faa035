"""Small random families of logs: streams, resumes, side chains, forks, spawned threads, repeats, copies.

Here: hypothesis strategies that yield files as bytes by path.  Not here: what must hold for them.
"""

from __future__ import annotations

from random import Random

from hypothesis import strategies as st

from tests.support import Row, at, claude, claude_progress, jsonl, meta, rollout, spawned_by, tokens, turn, user

Files = dict[str, bytes]
"""Content by path below the home."""

_PROJECT = ".claude/projects/-home-ada-code-tidepool"
_MODELS = ("claude-sonnet-4-5-20250929", "claude-opus-4-5-20251101", "<synthetic>", "acme-coder-9")


def claude_family(random: Random) -> Files:
    """Transcripts of a few sessions that share messages in every way Claude Code is known to."""
    files: dict[str, list[Row | bytes]] = {}
    requests: list[list[Row]] = []
    minute = 0.0
    for number in range(random.randint(1, 3)):
        session = f"s{number}"
        rows: list[Row | bytes] = [user(session=session)]
        if requests and random.random() < 0.6:  # a resume: rows copied under a new session id
            for request in random.sample(requests, random.randint(1, len(requests))):
                rows += [{**row, "sessionId": session} for row in request]
        for _ in range(random.randint(1, 4)):
            minute += random.choice((0, 0.5, 7, 900))
            request = _request(random, session, len(requests), minute)
            requests.append(request)
            rows += request
            if random.random() < 0.2:
                rows.append(b'{"type":"user","message":{"content":"cut')
        files[f"{_PROJECT}/{session}.jsonl"] = rows
        if random.random() < 0.6:
            files[f"{_PROJECT}/{session}/subagents/agent-a{number}.jsonl"] = _helper(
                random, session, requests, rows, minute
            )
    if random.random() < 0.3:  # a project folder was copied
        name = random.choice([path for path in files if path.count("/") == 3])
        files[name.replace("tidepool", "tidepool-old")] = list(files[name])
    return {path: jsonl(*rows) for path, rows in files.items()}


def resumed_family(random: Random) -> Files:
    """Transcripts of sessions that begin with what others had said when they were resumed, nearly row for row."""
    files: dict[str, list[Row | bytes]] = {}
    sessions: list[list[Row]] = []
    minute, number = 0.0, 0
    for session in (f"s{one}" for one in range(random.randint(2, 5))):
        before = random.choice(sessions) if sessions and random.random() < 0.8 else []
        rows = [{**row, "sessionId": session} for row in before[: random.randint(1, 1 + len(before))]]
        for row in rows:
            if random.random() < 0.03:
                row["timestamp"] = at(minute + random.choice((-30, 30)))
        if rows and random.random() < 0.15:
            rows.pop(random.randrange(len(rows)))
        for _ in range(random.randint(0, 4)):
            minute += random.choice((0, 0.5, 7, 900))
            rows += _request(random, session, number, minute)
            number += 1
        sessions.append(rows)
        repeated = [claude_progress(row) for row in rows if "id" in row["message"] and random.random() < 0.03]
        files[f"{_PROJECT}/{session}.jsonl"] = [user(session=session), *rows, *repeated]
    return {path: jsonl(*rows) for path, rows in files.items()}


def _request(random: Random, session: str, number: int, minute: float) -> list[Row]:
    message = None if random.random() < 0.15 else f"m{number}"
    request = None if message is None or random.random() < 0.2 else f"r{number}"
    model = random.choice(_MODELS)
    counters = {"input": random.randint(0, 3), "read": random.choice((0, 900)), "write": random.choice((0, 40))}
    rows = []
    for copy in range(random.choice((1, 1, 2, 3))):
        row = claude(
            message, request, output=random.choice((1, 5, 5 * (copy + 1))),
            minutes=minute + copy * random.choice((0, 0.1)), session=session, model=model, **counters,
        )  # fmt: skip
        if random.random() < 0.1:
            row["timestamp"] = random.choice((None, "not-a-date"))
        rows.append(row)
    return rows


def _helper(
    random: Random, session: str, requests: list[list[Row]], main: list[Row | bytes], minute: float
) -> list[Row | bytes]:
    rows: list[Row | bytes] = []
    for request in random.sample(requests, min(2, len(requests))):
        if "id" not in request[0]["message"]:
            continue
        replay = {**request[-1], "sessionId": session, "isSidechain": True, "agentId": "a"}
        if random.random() < 0.5:
            replay["requestId"] = f"replayed-{len(rows)}"
        rows.append(replay)
    for number in range(random.randint(0, 2)):
        row = claude(
            f"{session}-h{number}",
            f"{session}-q{number}",
            minutes=minute + 1,
            session=session,
            sidechain=True,
            output=9,
        )
        rows.append(row)
        if random.random() < 0.6:
            partial = claude(
                f"{session}-h{number}", f"{session}-q{number}", minutes=minute + 1, session=session, output=2
            )
            main.append(claude_progress(partial))
    return rows


def codex_family(random: Random) -> Files:
    """Rollouts of a few threads: repeats, jumps, forks and spawns with their parent there or not."""
    threads: dict[str, list[Row]] = {}
    heads: dict[str, list[Row]] = {}
    for number in range(random.randint(1, 4)):
        name, minute = f"t{number}", number * 30
        kind = random.choice(("new", "fork", "spawn", "branch")) if threads else "new"
        parent = random.choice(list(threads)) if kind != "new" else ""
        copied = threads[parent][: random.randint(1, len(threads[parent]))] if parent else []
        if kind in ("fork", "spawn"):
            copied = [{**row, "timestamp": meta(minutes=minute)["timestamp"]} for row in copied]
        about: Row = {"forked_from_id": parent} if kind == "fork" else {}
        if kind == "spawn":
            about = {"source": spawned_by(parent)}
        heads[name] = [
            meta(name, minute, **about),
            turn(random.choice(("gpt-5.1-codex", "gpt-5.4", "codex-auto-review"))),
        ]
        known = [row["payload"]["info"] for row in copied if row["payload"]["info"]]
        start = known[-1].get("total_token_usage") if known and random.random() < 0.8 else None
        threads[name] = copied + _usage_rows(random, minute, start)
    missing = random.choice(list(threads)) if len(threads) > 2 and random.random() < 0.4 else None
    files: Files = {}
    for name, rows in threads.items():
        content = jsonl(*heads[name], *rows)
        path = rollout(name)
        if name != missing:
            files[f".codex/sessions/{path}"] = content
        if random.random() < 0.15:
            part = content if random.random() < 0.5 else jsonl(*heads[name], *rows[:1])
            files[f".codex/archived_sessions/{path.rpartition('/')[2]}"] = part
    return files


def _usage_rows(random: Random, minute: float, start: Row | None) -> list[Row]:
    total = [0, 0, 0, 0] if start is None else [
        start["input_tokens"], start["cached_input_tokens"], start["output_tokens"], start["reasoning_output_tokens"]
    ]  # fmt: skip
    rows: list[Row] = []
    for _ in range(random.randint(1, 5)):
        minute += random.choice((0, 0.1, 5, 800))
        kind = random.choice(("step", "step", "step", "repeat", "total", "last", "jump", "low", "heartbeat"))
        if kind == "heartbeat":
            rows.append(tokens(minutes=minute))
            continue
        if kind == "repeat" and rows and rows[-1]["payload"]["info"]:
            rows.append({**rows[-1], "timestamp": tokens(minutes=minute)["timestamp"]})
            continue
        step = [random.choice((10, 10, 25)), random.choice((0, 4)), random.choice((1, 2)), random.choice((0, 1))]
        if kind == "low":
            rows.append(tokens(tuple(step), None, minute))
            continue
        if kind == "last":
            rows.append(tokens(None, tuple(step), minute))
            continue
        total = [one + other * (50 if kind == "jump" else 1) for one, other in zip(total, step, strict=True)]
        rows.append(tokens(tuple(total), None if kind == "total" else tuple(step), minute))
    return rows


@st.composite
def families(draw: st.DrawFn) -> Files:
    """Logs of one or both clients."""
    random = Random(draw(st.integers(0, 2**20)))
    kind = draw(st.sampled_from(("claude", "codex", "both", "resumed")))
    files: Files = {}
    if kind in ("claude", "both"):
        files |= claude_family(random)
    if kind in ("codex", "both"):
        files |= codex_family(random)
    if kind == "resumed":
        files |= resumed_family(random)
    return files
