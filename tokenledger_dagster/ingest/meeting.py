"""Which keys of new packs somebody else shows too.

Here: finding them among all key columns.  Not here: what becomes of the requests that meet (``ingest.packs``).  Keys
are 32-bit sums, so a key that two have is a reason to look, no proof.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tokenledger_dagster.clients import compiled

Holders = dict[int, list[tuple[int, int]]]
"""By key: (pack, event) of each event that has it."""


def met(
    new: Mapping[int, array[int]],
    stored: Mapping[int, array[int]],
    settled: Sequence[array[int]],
    loose: set[int],
) -> tuple[Holders, set[int]]:
    """Holders of the keys of ``new`` packs, or of ``loose`` new records, that somebody else has too.

    ``new`` and ``stored`` are key columns by pack, ``settled`` those of records outside of packs.  Returned beside the
    holders: which of the keys records outside of packs have, new ones included.
    """
    bulk = compiled.bulk()
    if bulk is None:
        return _met(new, stored, settled, loose)
    numbers = [*new, *stored]
    found, outside = bulk.met([*new.values()], [*stored.values()], [*settled], [*loose])
    holders: Holders = defaultdict(list)
    for key, place, event in found:
        holders[key].append((numbers[place], event))
    return holders, outside


def _met(
    new: Mapping[int, array[int]],
    stored: Mapping[int, array[int]],
    settled: Sequence[array[int]],
    loose: set[int],
) -> tuple[Holders, set[int]]:
    seen: set[int] = set()
    twice: set[int] = set()
    for column in new.values():
        found = set(column)
        twice |= found & seen
        seen |= found
        if len(found) < len(column):  # two of its own events are as good as another file's
            twice.update(repeated(column))
    seen |= loose
    for column in stored.values():
        if not seen.isdisjoint(column):
            twice.update(seen.intersection(column))
    outside = set(loose)
    for column in settled:
        if not seen.isdisjoint(column):
            outside.update(seen.intersection(column))
    return holders_of(twice | outside, {**new, **stored}), outside


def holders_of(keys: set[int], columns: Mapping[int, array[int]]) -> Holders:
    """The events of some packs with one of some keys."""
    found: Holders = defaultdict(list)
    for number, column in columns.items():
        if not keys.isdisjoint(column):
            for event, key in enumerate(column):
                if key in keys:
                    found[key].append((number, event))
    return found


def repeated(keys: Iterable[int]) -> Iterator[int]:
    """Keys that come again, each as often as it does."""
    seen: set[int] = set()
    for key in keys:
        if key in seen:
            yield key
        seen.add(key)
