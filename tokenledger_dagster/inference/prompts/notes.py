"""What a reader notes of one file: prompts without their place in the ledger, ready to be remembered and ordered.

Here: from a message's content to an entry with digests, and the times of those that tell none.  Not here: reading
(`reading`), where entries are kept (`index`), or whose they are (`owners`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from hashlib import blake2b
from typing import NamedTuple

from tokenledger_dagster.clients import values
from tokenledger_dagster.clients.base import Lineage, SourceFile
from tokenledger_dagster.inference.policy import PromptPolicy
from tokenledger_dagster.inference.prompts.masking import masked
from tokenledger_dagster.inference.prompts.typed import words_of

__all__ = ["Entry", "UNTIMED", "Notes", "keyed"]

DIGEST_BYTES = 16
UNTIMED = -1
"""Stands for the time of a prompt before which nothing tells one, until the whole file was read."""
_UNIQUE = 16
"""From this length on a message's id is unique by itself; shorter ones are counted or drawn from few."""


class Entry(NamedTuple):
    """One prompt as a file shows it."""

    session: str
    identity: bytes
    """Equal for copies of one prompt, whichever file or session shows them."""
    digest: bytes
    """Of the text."""
    time_us: int
    """When it was typed; where the row does not tell, the time of what stands before it."""
    source: int
    """How good a source of the session the file is: a session is told by its best ones alone."""
    copied: bool
    """Whether the file itself shows that the prompt came from another session."""


class Notes:
    """Takes what a reader finds in one file."""

    def __init__(self, file: SourceFile, key: bytes, policy: PromptPolicy, keep: Callable[[Entry, str], None]) -> None:
        """`keep` is given each entry with its text."""
        self.file = file
        self.skipped: Counter[str] = Counter()
        self.problems: list[str] = []
        self.lineage: Lineage | None = None
        """Where the client keeps one session a file, and copies history into the files of forks."""
        self.masked = 0
        self.has_untimed = False
        self._key = key
        self._policy = policy
        self._keep = keep
        self._time_us: int | None = None
        self._equal: Counter[tuple[str, bytes]] = Counter()

    def at(self, time: object) -> None:
        """What follows was written no earlier; for rows that tell no time of their own."""
        found = values.time_us(time)
        self._time_us = self._time_us if found is None else found

    def typed(
        self,
        session: str,
        content: object,
        *,
        time: object = None,
        name: object = None,
        source: int = 0,
        copied: bool = False,
    ) -> None:
        """Note one message of a person's.

        Args:
            session: the session as the ledger names it.
            content: text, or a list of blocks; what a program added is taken out, and where nothing is left the reason
                is counted.
            time: when it was written, in any form a log knows.
            name: the message's id, if copies of it keep it.
            source: 0, or more for a file that only stands in where no better one shows the session.
            copied: whether the file shows that another session is the prompt's own.
        """
        words = words_of(self.file.client, content)
        if words.reason is not None:
            self.skipped[words.reason] += 1
            return
        text, count = masked(words.text, self._policy.max_characters)
        self.masked += count
        digest = keyed(self._key, text.encode("utf-8"))
        told = values.time_us(time)
        self._time_us = self._time_us if told is None else told
        identity = self._identity(session, values.text(name), told, digest)
        if self._time_us is None:
            self.has_untimed = True
        entry = Entry(session, identity, digest, UNTIMED if self._time_us is None else self._time_us, source, copied)
        self._keep(entry, text)

    def _identity(self, session: str, name: str | None, time_us: int | None, digest: bytes) -> bytes:
        """The id where it is unique, else the time, each with the words; else the n-th such words of the session."""
        if name is not None and len(name) >= _UNIQUE:
            told = f"id\0{name}"
        elif time_us is not None:
            told = f"at\0{time_us}"
        elif name is not None:
            told = f"in\0{session}\0{name}"
        else:
            told = f"nth\0{session}\0{self._equal[session, digest]}"
            self._equal[session, digest] += 1
        return keyed(self._key, told.encode("utf-8", "surrogatepass") + b"\0" + digest)


def keyed(key: bytes, data: bytes) -> bytes:
    """A digest that tells nothing to whoever lacks the key."""
    return blake2b(data, digest_size=DIGEST_BYTES, key=key).digest()
