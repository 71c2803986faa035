"""``tokenledger search``: sessions by meaning, with what they cost."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from tokenledger_dagster.cli import arguments, common, output
from tokenledger_dagster.errors import NothingToReport, UsageError
from tokenledger_dagster.inference import switch
from tokenledger_dagster.settings import Settings

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping
    from decimal import Decimal

    from tokenledger_dagster.contracts.search import SearchDocument, SearchHit
    from tokenledger_dagster.home import Home
    from tokenledger_dagster.inference.embedder import Embedder
    from tokenledger_dagster.inference.switch import Standing

EXAMPLES = {
    "search": """
examples:
  tokenledger search "flaky test in the parser"
  tokenledger search "slow database query" --project api --since 2026-02-01 --limit 5
  tokenledger search "invoice export" --read-prompts --format json
  tokenledger search --forget
"""
}
_LINE_EVERY_SECONDS = 5.0
_BAR_EVERY_SECONDS = 0.2
_SWITCH = "TOKENLEDGER_FEATURE_INFERENCE_PROMPTS=true"
_KEEP = "TOKENLEDGER_FEATURE_INFERENCE_STORE_PROMPTS=true"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Question, filters, what may be read and shown, format."""
    parser.add_argument("text", metavar="TEXT", nargs="*", help="what the session was about, in your own words")
    parser.add_argument("--limit", metavar="N", type=int, help="the most sessions (default: 10)")
    parser.add_argument("--since", metavar="DATE", help="only sessions with usage on this day or later")
    parser.add_argument("--until", metavar="DATE", help="only sessions with usage on this day or earlier")
    parser.add_argument("--client", metavar="NAME", action="append", default=[], help="only this client (repeatable)")
    parser.add_argument("--project", metavar="PATH", action="append", default=[], help="only this project folder")
    parser.add_argument(
        "--min-score", metavar="S", type=float, help="leave out what is less alike, -1 to 1 (default: 0)"
    )
    parser.add_argument("--no-index", action="store_true", help="embed nothing new; answer from what is embedded")
    parser.add_argument("--read-prompts", action="store_true", help="read what was typed, for this run only")
    parser.add_argument("--show-prompts", action="store_true", help="show what was typed, where prompts are stored")
    parser.add_argument(
        "--forget", action="store_true", help="remove all that was made of what you typed; nothing is searched"
    )
    common.add_no_sync(parser)
    output.add_format(parser)
    # the filters of a report that a search does not have
    parser.set_defaults(model=[], session=[], tz=None, no_estimates=False)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Prints the sessions; exits 3 where nothing is embedded, or nothing is alike."""
    if args.forget:
        return _forgotten(args, settings)
    from tokenledger_dagster.inference.policy import policy

    rules = policy().search
    limit = rules.limit if args.limit is None else args.limit
    min_score = rules.min_score if args.min_score is None else args.min_score
    text = " ".join(args.text).strip()
    _check(text, limit, min_score)
    selection = arguments.selection_of(args, common.zone_name(settings))
    home = common.open_home(settings)
    switch.require(home, settings)
    standing = switch.standing(home, settings)
    if args.show_prompts and not standing.store_prompts:
        raise UsageError(
            f"--show-prompts: prompts are not stored; {_SWITCH} and {_KEEP} store them from the next search"
        )
    if args.read_prompts:
        standing = standing._replace(prompts=True)
    if not args.no_sync:
        common.synced(home, settings)
    common.ledger(home).close()
    from tokenledger_dagster.inference.embedder import open_embedder
    from tokenledger_dagster.inference.indexing import kept_prompts
    from tokenledger_dagster.inference.search import SearchIndex

    with open_embedder(home, settings) as embedder:
        pending = None if args.no_index else _indexed(home, standing, embedder)
        index = SearchIndex(home, embedder, embedder.model, common.zone_name(settings))

        def words(sessions: list[tuple[str, str]]) -> Mapping[tuple[str, str], list[str]]:
            return kept_prompts(home, os.environ, standing, index.opened, sessions)

        found = index.search(
            text,
            limit=limit,
            min_score=min_score,
            selection=selection,
            pending=pending,
            prompts=words if args.show_prompts else None,
            now=common.now(),
        )
    if not found.results:
        raise NothingToReport(_nothing(found, standing))
    if args.format == "json":
        output.print_json(found)
    else:
        sys.stdout.write(_text(found, args.format))
    return 0


def _forgotten(args: argparse.Namespace, settings: Settings) -> int:
    """Removes what was made of prompts, and says what that was; asks nothing."""
    from tokenledger_dagster.inference.forgetting import forget
    from tokenledger_dagster.printable import printable

    if args.text or args.format != "table":
        raise UsageError("--forget takes neither TEXT nor --format")
    home = common.open_home(settings)
    removed = forget(home)
    for one in removed:
        print(printable(f"removed {one.what}: {one.files:,} files of {one.bytes:,} bytes, {one.path}"))
    if not removed:
        print("nothing was made of what you typed")
    if switch.standing(home, settings).prompts:
        common.note("`inference.prompts` is on: the next search reads and embeds again what the logs still hold")
    return 0


def _check(text: str, limit: int, min_score: float) -> None:
    if not text:
        raise UsageError("TEXT is empty; say in a few words what the session was about")
    if limit < 1:
        raise UsageError(f"--limit {limit}: use 1 or more")
    if not -1 <= min_score <= 1:
        raise UsageError(f"--min-score {min_score}: use a number from -1 to 1")


def _indexed(home: Home, standing: Standing, embedder: Embedder) -> int | None:
    """Embeds what is new; returns how many sessions are left, None where nobody could look."""
    from tokenledger_dagster.inference.indexing import index_sessions
    from tokenledger_dagster.inference.prompts import PromptReport, forget_texts
    from tokenledger_dagster.inference.vector_files import folder_of

    if not standing.prompts:
        common.note(
            f"prompts are not read, so nothing new is embedded; --read-prompts reads them once, {_SWITCH} always"
        )
        if (removed := forget_texts(home)) is not None:
            common.note(removed)
        return None
    shown, report = _Progress(), PromptReport()
    try:
        done = index_sessions(home, os.environ, standing, embedder, report=report, progress=shown)
    except KeyboardInterrupt:
        # what was embedded is committed, and answers
        left = "what is new is" if shown.left is None else f"{shown.left:,} sessions are"
        shown.end()
        common.note(f"stopped: {left} left for the next search")
        return shown.left
    except OSError as error:  # a full disk, a folder of somebody else's: what is embedded answers
        shown.end()
        where = error.filename or folder_of(home)
        common.note(f"{where}: {error.strerror or error}; answering from what is embedded")
        return shown.left
    finally:
        shown.end()
        for problem in report.problems:
            common.note(problem)
    if not done.held:
        common.note("another process is embedding sessions of this home; answering from what is embedded")
        return None
    if done.unusable:
        common.note(f"{done.unusable:,} sessions with ids that are no text were left out")
    return 0


class _Progress:
    """Sessions embedded, on stderr: one line that is rewritten on a terminal, a line every few seconds elsewhere."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._last = time.monotonic()
        self._first: tuple[int, float] | None = None
        """Sessions done after the first commit, and when: what came before was reading logs and loading the model."""
        self._shown = False
        self.left: int | None = None
        """Sessions to embed; None until the logs are read."""

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        self.left = total - done
        if not done:
            return
        self._first = self._first or (done, now)
        if now - self._last < (_BAR_EVERY_SECONDS if self._is_terminal else _LINE_EVERY_SECONDS):
            return
        self._last = now
        text = f"embedding sessions: {done:,} of {total:,}, {self.left:,} left{self._time_left(done, now, self.left)}"
        if self._is_terminal:
            sys.stderr.write(f"\r{text}\x1b[K")
            sys.stderr.flush()
            self._shown = True
        else:
            common.note(text)

    def _time_left(self, done: int, now: float, left: int) -> str:
        first, at = self._first or (done, now)
        if done == first:
            return ""
        minutes = (now - at) / (done - first) * left / 60
        return f", about {minutes:,.0f} min; Ctrl-C keeps what is done" if minutes >= 1 else ""

    def end(self) -> None:
        """Leaves the terminal at the beginning of an empty line."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            self._shown = False


def _nothing(found: SearchDocument, standing: Standing) -> str:
    """Why nothing was found, and what helps."""
    if not found.index.sessions:
        if found.index.left_out:
            return (
                f"all {found.index.left_out:,} embedded sessions have vectors of another model or precision; search "
                "without --no-index embeds them again"
            )
        if standing.prompts and found.index.pending == 0:
            return "no session is embedded yet; no prompts were found in the logs that `tokenledger doctor` lists"
        if standing.prompts:  # --no-index, a stop, or another process is at it
            return "no session is embedded yet; a search without --no-index embeds them"
        return (
            f"no session is embedded yet, since prompts are not read; --read-prompts reads them once, {_SWITCH} always"
        )
    asked = ", ".join(f"{name} {_either(value)}" for name, value in found.filters.items())
    if not found.index.matching:
        return f"none of {found.index.sessions:,} embedded sessions is one of {asked}"
    within = f" of {asked}" if asked else ""
    return (
        f"none of {found.index.matching:,} sessions{within} reaches a score of {found.min_score}; --min-score lowers it"
    )


def _either(value: object) -> str:
    return " or ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _text(found: SearchDocument, form: str) -> str:
    exact = form == "csv"
    # without plans, cost is the list price; CSV has the same columns always
    costs = exact or any(hit.effective_cost_usd != hit.list_price_usd for hit in found.results)
    headers = ["Session", "Client", "Project", "Models", "First", "Last", "Score", "Margin", "Tokens"]
    headers += ["List price USD", "Cost USD"] if exact else ["List price", *(["Cost"] if costs else [])]
    rows = [_row(hit, exact, costs) for hit in found.results]
    text = output.render(headers, rows, form, numeric_from=6)
    if exact:
        return text
    return text + _prompts(found) + _foot(found) if form == "table" else text + _prompts(found)


def _row(hit: SearchHit, exact: bool, costs: bool) -> list[str]:
    money: Callable[[Decimal | None], str] = _exactly if exact else output.dollars
    places, size = (6, None) if exact else (3, len("2026-02-18"))
    times = [(moment or "")[:size] for moment in (hit.first_activity, hit.last_activity)]
    cells = [hit.session_id, hit.client, hit.project or "", ", ".join(hit.models), *times]
    cells += [f"{hit.score:.{places}f}", "" if hit.margin is None else f"{hit.margin:.{places}f}"]
    cells += [str(hit.total_tokens) if exact else output.tokens(hit.total_tokens), money(hit.list_price_usd)]
    return [*cells, money(hit.effective_cost_usd)] if costs else cells


def _exactly(usd: Decimal | None) -> str:
    return "" if usd is None else f"{usd:f}"


def _prompts(found: SearchDocument) -> str:
    """What was typed in each session, where it was asked for."""
    from tokenledger_dagster.printable import printable

    text = ""
    for hit in found.results:
        words = hit.prompts if isinstance(hit.prompts, list) else []
        text += f"\n{printable(hit.session_id)}\n" if words else ""
        text += "".join(f"  > {printable(line)}\n" for prompt in words for line in prompt.splitlines())
    return f"{text}\n" if text else ""


def _foot(found: SearchDocument) -> str:
    model, index = found.model, found.index
    foot = (
        f"{len(found.results):,} of {index.matching:,} sessions; scores are estimates of likeness (cosine, "
        f"{model.name} {model.precision} by {model.actual}), margin is the distance to the next one"
    )
    if model.actual != model.requested:
        foot += f"; {model.requested} was asked for: {model.reason}"
    if index.left_out:
        foot += f"; {index.left_out:,} sessions with vectors of another model or precision are left out"
    if index.pending:
        foot += f"; {index.pending:,} sessions are not embedded yet"
    return f"{foot}\n"
