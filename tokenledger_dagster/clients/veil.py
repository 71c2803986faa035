"""Stand-ins for values that must never be stored: the same value always has the same one, and none leads back.

Here: the one digest under which keys and accounts are known.  Not here: which values those are (each client,
``landing``).  A long random key cannot be found from its stand-in; a value that can be guessed, such as an e-mail
address, can be tried out by whoever holds the ledger: a stand-in is a pseudonym, no more.
"""

from __future__ import annotations

from hashlib import blake2b

PREFIX = "blake2b:"
_LENGTH = len(PREFIX) + 32


def veiled(value: str) -> str:
    """What stands for ``value``; an empty string and a stand-in stay what they are."""
    if not value or is_veiled(value):
        return value
    return PREFIX + digest(value)


def is_veiled(value: str) -> bool:
    """Whether ``value`` is a stand-in already."""
    if len(value) != _LENGTH or not value.startswith(PREFIX):
        return False
    return all(one in "0123456789abcdef" for one in value[len(PREFIX) :])


def digest(value: str) -> str:
    """32 hex digits."""
    return blake2b(value.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
