"""Rows of events that one pack alone shows, made in bulk as general booking would make them.

Here: which events of a pack need no booking, their rows of ``records`` and ``events``, and writing these.  Not here:
what a client makes of such an event (``clients.standing``), or the order of settling (``ingest.bookkeeping``).
"""

from __future__ import annotations

from typing import Any

import msgspec

from tokenledger_dagster.clients.pack import BARRED, BOOKED, EXPANDED, PROMPT_STEPS, WEAK, Columns, price_step
from tokenledger_dagster.clients.pack_copies import Shared, shared
from tokenledger_dagster.clients.standing import Standing, standing
from tokenledger_dagster.ingest.booking import event_id, group_number
from tokenledger_dagster.ingest.ledger import Billing, Ledger
from tokenledger_dagster.ingest.packs import Pack
from tokenledger_dagster.ingest.zones import DAY_US
from tokenledger_dagster.pricing.events import Pricing, price_event, sum_of, token_prices
from tokenledger_dagster.quarters import SLOT_US

_encode = msgspec.msgpack.Encoder().encode
_Priced = tuple[Pricing, tuple[int, ...] | None]


class StandingRows:
    """Takes the events of packs that nobody else shows; ``write`` makes them rows."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._records: list[tuple[Any, ...]] = []
        self._events: list[tuple[Any, ...]] = []
        self._event_no = ledger.last_event()
        self._prices: dict[tuple[Any, ...], _Priced] = {}

    def __len__(self) -> int:
        return len(self._records)

    def take(self, pack: Pack, elsewhere: set[int]) -> None:
        """Takes what it can of a pack; ``elsewhere``: keys of which there is more than one event anywhere."""
        ledger, states = self._ledger, pack.states
        wanted = [
            state in (BOOKED, WEAK, BARRED) and key not in elsewhere
            for state, key in zip(bytes(states), pack.keys, strict=True)
        ]
        if True not in wanted:
            return
        columns, form = ledger.packs.columns(pack), ledger.packs.form(pack)
        own = _stands(ledger, pack, columns)
        if own is None:
            return
        contexts = shared(columns)
        sessions = [ledger.session_number(pack.client, one.session) for one in contexts]
        flags = {
            one.session: "" if pack.client != "codex" or ledger.has_file(pack.client, one.session) else "owner_missing"
            for one in contexts
        }
        for one in standing(columns, wanted, pack.times, pack.stream_no, pack.first_rid, sessions):
            if own and one.rows[0][0].ordinal < own:
                continue
            group = group_number(pack.client, one.group)
            event_no = None
            if one.identity is not None:
                event_no = self._event_no = self._event_no + 1
                winner = columns.winners[one.event]
                prefix = form.prefix(columns.identities[one.event])
                step = price_step(form.prompt(columns.values[winner])) or 0
                self._event(pack, one, contexts[columns.context_of[winner]], group, flags, (prefix, step))
            for copy, rule in one.rows:
                self._records.append((copy.rid, group, copy.stream, copy.session, _encode(copy), event_no, rule))
            states[one.event] = EXPANDED
        pack.changed = True

    def _event(
        self,
        pack: Pack,
        one: Standing,
        context: Shared,
        group: int,
        flags: dict[str, str],
        priced_by: tuple[str, int],
    ) -> None:
        winner = next(copy for copy, rule in one.rows if rule is None)
        at = pack.times[one.event]
        model_no, price, units = self._price(pack.client, context, at, winner.message_id, priced_by, winner.counters)
        nano = price.list_price_nano
        if units:
            nano = sum_of(units, winner.counters)
        self._events.append(
            (
                self._event_no,
                event_id(one.identity or ()),
                group,
                winner.rid,
                winner.session,
                model_no,
                at,
                0,
                0,
                *winner.counters,
                flags[context.session],
                price.channel,
                nano,
                price.list_basis,
                price.price_confidence,
                price.requested_context,
                price.priced_context or "",
                price.reason,
                0,  # rows that state a cost are not booked by their pack
            )
        )

    def _price(
        self,
        client: str,
        context: Shared,
        at: int,
        message_id: str | None,
        priced_by: tuple[str, int],
        counters: Any,
    ) -> tuple[int, Pricing, tuple[int, ...] | None]:
        """Model, pricing, and what one token costs where equal requests of a day are priced alike."""
        ledger = self._ledger
        model_no, name = ledger.model(client, Billing(context.model_raw), at)
        slot = at // SLOT_US
        bucket = slot if ledger.is_slotted(client, name, priced_by[0]) else -(at // DAY_US)
        key = (client, context.model_raw, context.speed, context.service_tier, *priced_by, bucket)
        known = self._prices.get(key)
        if known is None or not known[1]:
            price = price_event(
                ledger.rates,
                client=client,
                name=name,
                ts_us=at,
                message_id=message_id,
                speed=context.speed,
                service_tier=context.service_tier,
                input=counters[0],
                cache_read=counters[3],
                cache_write_5m=counters[2] - counters[6],
                cache_write_1h=counters[6],
                output=counters[1],
                tool_input=counters[4],
                tool_output=counters[5],
            )
            if known is not None:
                return model_no, price, None
            units = token_prices(
                ledger.rates,
                client=client,
                name=name,
                ts_us=slot * SLOT_US,
                message_id=priced_by[0] or None,
                speed=context.speed,
                service_tier=context.service_tier,
                steps=PROMPT_STEPS,
                step=priced_by[1],
            )
            if price.list_price_nano is None or not any(counters):
                units = None  # each by itself
            self._prices[key] = known = (price, units)
        return model_no, *known

    def write(self) -> None:
        """Writes the rows and forgets them."""
        self._ledger.insert(self._events, self._records)
        self._events, self._records = [], []


def _stands(ledger: Ledger, pack: Pack, columns: Columns) -> int | None:
    """Ordinal from which on a stream's rows are its own session's; None where other files bear on all of them."""
    if pack.client != "codex":
        return 0
    if ledger.is_superseded(pack.stream_no):
        return None
    runs = ledger.stream(pack.stream_no).runs
    if not runs:
        return 0
    if runs[-1][1:] != (columns.contexts[0][0], None):
        return None
    return runs[-2][0] if len(runs) > 1 else 0
