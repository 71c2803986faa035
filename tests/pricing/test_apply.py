"""A patch goes into a pricing book: adding, filling, and nothing else unless that was asked for."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenledger_dagster.contracts.pricing_book import UNIT_FIELDS
from tokenledger_dagster.home import Home, ensure_home
from tokenledger_dagster.pricing.apply import MOST_PATCH_BYTES, Applied, apply_patch, read_patch, write_book
from tokenledger_dagster.pricing.book import BookError, parse_book
from tokenledger_dagster.pricing.book_rows import canonical, look_up_key

NOW = datetime(2026, 3, 9, 8, 30, tzinfo=UTC)
STAMP = "2026-03-09T08:30:00Z"
BOOK = b"""{
  "note": "of the house",
  "providers": {
    "claude": {
      "subscription_usd_month": 20.00,
      "models": {
        "claude-sonnet-4-5": {"output_usd_per_mtok": 15.0, "input_usd_per_mtok": 3.10, "x": [1e2, true]},
        "acme-coder-9": {"input_usd_per_mtok": null, "output_usd_per_mtok": null}
      },
      "model_aliases": {"fast-one": "claude-sonnet-4-5"}
    }
  },
  "meta": {"source": "vendor pages", "updated_at": "2026-01-01T00:00:00Z"}
}
"""


def patch(models: dict[str, Any] | None = None, aliases: dict[str, str] | None = None, **more: Any) -> bytes:
    """A patch for the provider claude."""
    return json.dumps(
        {"providers": {"claude": {"models": models or {}, "model_aliases": aliases or {}}}, **more}
    ).encode()


def rates(usd: float | None = 1.5, **more: Any) -> dict[str, Any]:
    return {"input_usd_per_mtok": usd, "output_usd_per_mtok": usd, **more}


def applied(given: bytes, book: bytes | None = BOOK, **more: Any) -> Applied:
    return apply_patch(book, given, now=NOW, **more)


def document(found: Applied) -> Any:
    assert found.content is not None
    return json.loads(found.content)


# -------------------------------------------------------------------- adding


def test_a_model_is_added_and_everything_else_keeps_its_place_and_spelling() -> None:
    found = applied(patch({"new-1": rates()}))

    assert found.summary.models_added == ["claude:new-1"]
    assert found.content == (
        b"""{
  "note": "of the house",
  "providers": {
    "claude": {
      "subscription_usd_month": 20.00,
      "models": {
        "claude-sonnet-4-5": {
          "output_usd_per_mtok": 15.0,
          "input_usd_per_mtok": 3.10,
          "x": [
            1e2,
            true
          ]
        },
        "acme-coder-9": {
          "input_usd_per_mtok": null,
          "output_usd_per_mtok": null
        },
        "new-1": {
          "input_usd_per_mtok": 1.5,
          "output_usd_per_mtok": 1.5
        }
      },
      "model_aliases": {
        "fast-one": "claude-sonnet-4-5"
      }
    }
  },
  "meta": {
    "source": "vendor pages",
    "updated_at": "2026-03-09T08:30:00Z"
  },
  "provider_aliases": {}
}
"""
    )


def test_numbers_of_the_patch_keep_their_digits() -> None:
    given = b'{"providers": {"claude": {"models": {"new": {"input_usd_per_mtok": 0.10, "output_usd_per_mtok": 1E1}}}}}'

    content = applied(given).content

    assert content is not None
    assert b'"input_usd_per_mtok": 0.10' in content
    assert b'"output_usd_per_mtok": 1E1' in content


def test_without_a_book_one_is_made() -> None:
    found = applied(patch({"new-1": rates(None)}), None)

    assert document(found) == {
        "schema_version": 1,
        "meta": {},
        "provider_aliases": {},
        "providers": {"claude": {"models": {"new-1": rates(None)}, "model_aliases": {}}},
    }
    assert found.summary.providers_added == ["claude"]
    assert found.summary.models_without_rates == ["claude:new-1"]


def test_a_new_book_takes_the_source_of_its_patch() -> None:
    added = json.loads(patch({"new-1": rates(3)}))
    found = applied(json.dumps({**added, "meta": {"source": "tokenledger pricing reconcile"}}).encode(), None)
    assert document(found)["meta"] == {"source": "tokenledger pricing reconcile", "updated_at": STAMP}


def test_an_entry_without_rates_makes_no_book_younger() -> None:
    found = applied(patch({"new-1": rates(None)}))
    assert (found.changed, found.updates_meta) == (True, False)
    assert document(found)["meta"] == json.loads(BOOK)["meta"]


def test_a_patch_without_anything_changes_nothing_and_makes_no_book() -> None:
    for book in (BOOK, None):
        found = applied(patch(suggestions={"model_aliases": {"claude": []}}, about="..."), book)

        assert (found.content, found.changed) == (book, False)
        told = found.told(wrote=False)
        assert (told.changed, told.metadata_updated, told.wrote_pricing) == (False, False, False)


def test_aliases_are_added_and_existing_ones_stay() -> None:
    given = patch(
        aliases={"sonet": "claude-sonnet-4-5", "Fast.One": "acme-coder-9", "claude-sonnet-4.5": "acme-coder-9"},
        provider_aliases={"anthropic": "claude"},
    )

    found = applied(given)

    assert document(found)["provider_aliases"] == {"anthropic": "claude"}
    assert document(found)["providers"]["claude"]["model_aliases"] == {
        "fast-one": "claude-sonnet-4-5",
        "sonet": "claude-sonnet-4-5",
    }
    assert found.summary.aliases_added == ["anthropic", "claude:sonet"]
    assert found.summary.aliases_skipped_existing == ["claude:Fast.One", "claude:claude-sonnet-4.5"]


def test_a_provider_of_the_book_is_nobodys_alias() -> None:
    found = applied(b'{"provider_aliases": {"claude": "codex"}}')

    assert found.content == BOOK
    assert found.summary.aliases_skipped_existing == ["claude"]


def test_an_alias_takes_the_place_of_an_entry_without_rates() -> None:
    found = applied(patch(aliases={"acme-coder-9": "claude-sonnet-4-5"}))

    claude = document(found)["providers"]["claude"]
    assert list(claude["models"]) == ["claude-sonnet-4-5"]
    assert claude["model_aliases"]["acme-coder-9"] == "claude-sonnet-4-5"


def test_a_provider_that_the_book_knows_by_an_alias_is_that_provider() -> None:
    book = b'{"providers": {"anthropic": {}}, "provider_aliases": {"claude": "anthropic"}}'

    found = applied(patch({"new-1": rates()}), book)

    assert document(found)["providers"] == {"anthropic": {"models": {"new-1": rates()}, "model_aliases": {}}}
    assert found.summary.models_added == ["anthropic:new-1"]


# -------------------------------------------------------------------- what is there already


def test_existing_rates_stay_however_the_model_is_spelled() -> None:
    found = applied(patch({"Claude-Sonnet-4.5": rates(9), "fast-one": rates(9)}))

    assert found.content == BOOK
    assert found.summary.models_skipped_existing == ["claude:Claude-Sonnet-4.5", "claude:fast-one"]


def test_an_entry_without_rates_is_filled() -> None:
    found = applied(patch({"acme-coder-9": rates(2.5, source="its page")}))

    assert document(found)["providers"]["claude"]["models"]["acme-coder-9"] == rates(2.5, source="its page")
    assert found.summary.models_filled == ["claude:acme-coder-9"]


def test_a_zero_is_a_number_and_no_entry_to_fill() -> None:
    book = b'{"providers": {"claude": {"models": {"m-1": {"input_usd_per_mtok": 0, "output_usd_per_mtok": 0}}}}}'

    found = applied(patch({"m-1": rates(2.5)}), book)

    assert found.content == book
    assert found.summary.models_skipped_existing == ["claude:m-1"]


def test_rates_are_replaced_where_that_is_allowed_and_nulls_replace_nothing() -> None:
    given = patch({"claude-sonnet-4-5": {"input_usd_per_mtok": 4, "output_usd_per_mtok": None, "source": "its page"}})

    found = applied(given, allow_overwrite=True)

    assert document(found)["providers"]["claude"]["models"]["claude-sonnet-4-5"] == {
        "output_usd_per_mtok": 15.0,
        "input_usd_per_mtok": 4,
        "x": [100.0, True],
        "source": "its page",
    }
    assert found.summary.models_overwritten == ["claude:claude-sonnet-4-5"]


def test_dated_rows_are_matched_by_their_place_in_time() -> None:
    old, new = rates(1, valid_to="2026-01-01"), rates(2, valid_from="2026-01-01")
    book = patch({"m-1": {"rates": [old, new]}})
    later = rates(3, valid_from="2026-06-01")

    ended = {**new, "valid_to": "2026-06-01"}
    found = applied(patch({"m-1": {"rates": [ended, later]}}), book, allow_overwrite=True)

    assert document(found)["providers"]["claude"]["models"]["m-1"]["rates"] == [old, ended, later]


# -------------------------------------------------------------------- hostile patches


@pytest.mark.parametrize(
    "given",
    [
        b"not JSON",
        b"",
        b"[]",
        b'"text"',
        b"\xff\xfe\x00",
        b'{"providers": {"claude": {"models": {"m": {"input_usd_per_mtok": NaN}}}}}',
        b'{"providers": {"claude": {"models": {"m": {"input_usd_per_mtok": Infinity}}}}}',
        b'{"providers": {"claude": {"models": {"m": {"input_usd_per_mtok": "NaN"}}}}}',
        b'{"providers": {"claude": {"models": {"m": {"input_usd_per_mtok": -1}}}}}',
        b'{"providers": {"claude": {"models": {"m": {"input_usd_per_mtok": 1e999999999}}}}}',
        b'{"providers": {"claude": {"models": {"m": {"input_usd_per_mtok": true}}}}}',
        b'{"providers": {"claude": {"models": {"m": {"input_usd_per_mtok": [1]}}}}}',
        b'{"providers": {"claude": {"models": []}}}',
        b'{"providers": {"claude": null}}',
        b'{"providers": 7}',
        b'{"provider_aliases": {"a": 1}}',
        b'{"schema_version": 99}',
        b'{"providers": {"claude": {}, "claude": {}}}',
        b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"providers": {"claude": {"models": {"m": {"valid_from": "soon", "input_usd_per_mtok": 1}}}}}',
        b'{"providers": {"claude": {"model_aliases": {"a": "b", "b": "a"}}}}',
        b'{"providers": {"claude": {"models": {"acme-1": {}, "Acme.1": {}}}}}',
        b'{"providers": {"claude": {}, "anthropic": {}}, "provider_aliases": {"anthropic": "claude"}}',
        b'{"providers": {"claude": {"models": {"m": {"note": "\\ud800"}}}}}',
        b'{"providers": {"claude": {"models": {"m": {"note": ' + b"[" * 900 + b"]" * 900 + b"}}}}}",
        b" " * (10 << 20),
    ],
    ids=lambda given: given[:70].decode("latin-1"),
)
def test_a_patch_that_cannot_be_meant_is_refused_in_one_line_with_its_name(given: bytes) -> None:
    with pytest.raises(BookError) as refused:
        applied(given, patch_place="/tmp/patch.json")

    assert str(refused.value).startswith("/tmp/patch.json")
    assert "\n" not in str(refused.value)
    assert refused.value.exit_code == 4


def test_a_patch_that_breaks_the_book_is_refused_with_both_names() -> None:
    book = patch({"m-1": rates(None, contexts={"standard": rates(1, valid_to="2026-02-01")})})
    given = patch({"m-1": rates(2)})

    with pytest.raises(BookError, match=r"^p\.json applied to b\.json: providers\.claude\.models\.m-1\."):
        applied(given, book, allow_overwrite=True, place="b.json", patch_place="p.json")


def test_a_book_that_cannot_be_kept_whole_is_not_touched() -> None:
    book = b'{"providers": {}, "note": 1, "note": 2}'

    with pytest.raises(
        BookError, match=r"^b\.json: cannot be changed without loss \(a key stands twice in one object\)"
    ):
        applied(patch({"m-1": rates()}), book, place="b.json")


def test_a_large_file_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "patch.json"
    path.write_bytes(b" " * (MOST_PATCH_BYTES + 1000))

    assert len(read_patch(path)) == MOST_PATCH_BYTES + 1


# -------------------------------------------------------------------- writing


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = ensure_home(tmp_path / "ledger", "test")
    home.pricing_book_path.write_bytes(BOOK)
    return home


def test_the_book_as_it_was_is_kept_beside_it(home: Home) -> None:
    first = applied(patch({"new-1": rates()}))
    assert first.content is not None

    one = write_book(home, first, write_backup=True)
    two = write_book(home, applied(patch({"new-2": rates()}), first.content), write_backup=True)

    assert one == home.root / "pricing.json.20260309-083000.bak"
    assert two == home.root / "pricing.json.20260309-083000-2.bak"
    assert (one.read_bytes(), two.read_bytes()) == (BOOK, first.content)
    assert list(json.loads(home.pricing_book_path.read_bytes())["providers"]["claude"]["models"])[2:] == [
        "new-1",
        "new-2",
    ]


def test_nothing_is_kept_of_what_was_not_asked_for_or_does_not_change(home: Home) -> None:
    assert write_book(home, applied(patch({"acme-coder-9": rates(None)})), write_backup=True) is None
    assert home.pricing_book_path.read_bytes() == BOOK

    found = applied(patch({"new-1": rates()}))
    assert write_book(home, found, write_backup=False) is None
    assert home.pricing_book_path.read_bytes() == found.content
    assert sorted(path.name for path in home.root.iterdir()) == [".lock", "home.json", "pricing.json"]


def test_a_book_that_was_changed_meanwhile_is_left_alone(home: Home) -> None:
    found = applied(patch({"new-1": rates()}))
    home.pricing_book_path.write_bytes(b"{}")

    with pytest.raises(BookError, match="was changed meanwhile; apply the patch again"):
        write_book(home, found, write_backup=True)

    assert home.pricing_book_path.read_bytes() == b"{}"


def test_a_book_that_is_linked_to_stays_where_it_is(home: Home, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.json"
    home.pricing_book_path.rename(elsewhere)
    home.pricing_book_path.symlink_to(elsewhere)

    found = applied(patch({"new-1": rates()}))
    write_book(home, found, write_backup=True)

    assert home.pricing_book_path.is_symlink()
    assert elsewhere.read_bytes() == found.content


# -------------------------------------------------------------------- properties

_RATE = st.one_of(st.none(), st.integers(0, 20), st.decimals("0", "20", places=3).map(float))
_ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "input_usd_per_mtok": _RATE,
        "output_usd_per_mtok": _RATE,
        "cache_read_usd_per_mtok": _RATE,
        "source": st.sampled_from([None, "a page"]),
        "tier": st.fixed_dictionaries({"above_tokens": st.just(200_000)}, optional={"input_usd_per_mtok": _RATE}),
        "contexts": st.dictionaries(
            st.sampled_from(["speed=fast", "variant=free"]),
            st.fixed_dictionaries({}, optional={"input_usd_per_mtok": _RATE, "output_usd_per_mtok": _RATE}),
            max_size=2,
        ),
    },
)
_NAMES = st.sampled_from(["acme-1", "Acme.1", "acme-2", "claude-sonnet-4-5", "claude-sonnet-4.5"])
_MODELS = st.dictionaries(_NAMES, _ENTRY, max_size=3)
_ALIASES = st.dictionaries(_NAMES, st.just("claude-opus-4-5"), max_size=2)
_PROVIDER = st.fixed_dictionaries({"models": _MODELS, "model_aliases": _ALIASES})
_MORE = {"provider_aliases": st.just({"anthropic": "claude"}), "extra": st.just({"kept": [1, None]})}
_BOOKS = st.fixed_dictionaries(
    {"providers": st.dictionaries(st.sampled_from(["claude", "anthropic"]), _PROVIDER, max_size=2)}, optional=_MORE
).map(lambda one: json.dumps(one).encode())
_PATCHES = st.fixed_dictionaries(
    {
        "providers": st.dictionaries(
            st.sampled_from(["claude", "anthropic"]),
            _PROVIDER.filter(
                lambda one: len({name.lower().replace(".", "-") for name in one["models"]}) == len(one["models"])
            ),
            max_size=1,
        )
    },
    optional=_MORE,
).map(lambda one: json.dumps(one).encode())


def numbers(node: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Decimal]:
    """Every rate of a document by its place."""
    if isinstance(node, dict):
        return {key: value for name, part in node.items() for key, value in numbers(part, (*path, name)).items()}
    is_rate = path and path[-1] in UNIT_FIELDS and node is not None
    return {path: Decimal(str(node))} if is_rate else {}


def loads(content: bytes) -> bool:
    try:
        parse_book(content, "")
    except BookError:
        return False
    return True


def is_whole(content: bytes) -> bool:
    """Whether a book loads and spells no model twice, which nobody could patch."""
    entries = json.loads(content).get("providers", {}).values() if loads(content) else [{"models": ["a", "A"]}]
    names = [[look_up_key(canonical(name)) for name in entry.get("models", {})] for entry in entries]
    return all(len(set(one)) == len(one) for one in names)


def test_a_book_that_spells_a_model_twice_is_not_patched() -> None:
    book = b'{"providers": {"claude": {"models": {"acme-1": {}, "Acme.1": {}}}}}'
    patch = b'{"providers": {"claude": {"models": {"acme-2": {}}}}}'
    with pytest.raises(BookError, match=r"acme-1 and Acme\.1 are one model"):
        apply_patch(book, patch, now=NOW)


@settings(max_examples=250, deadline=None)
@given(book=st.one_of(st.none(), _BOOKS.filter(is_whole)), given_patch=_PATCHES.filter(loads))
def test_applying_adds_only_and_twice_is_once(book: bytes | None, given_patch: bytes) -> None:
    once = apply_patch(book, given_patch, now=NOW)
    twice = apply_patch(once.content, given_patch, now=datetime(2027, 1, 1, tzinfo=UTC))

    assert (twice.content, twice.changed) == (once.content, False)
    before, after = (numbers(json.loads(content or b"{}")) for content in (book, once.content))
    assert {place: after.get(place) for place in before} == before
    kept, now = (json.loads(content or b"{}").get("extra") for content in (book, once.content))
    assert now == kept


@settings(max_examples=150, deadline=None)
@given(book=_BOOKS.filter(is_whole), given_patch=_PATCHES.filter(loads))
def test_overwriting_replaces_numbers_by_numbers_alone(book: bytes, given_patch: bytes) -> None:
    once = apply_patch(book, given_patch, allow_overwrite=True, now=NOW)
    twice = apply_patch(once.content, given_patch, allow_overwrite=True, now=NOW)

    assert (twice.content, twice.changed) == (once.content, False)
    assert numbers(json.loads(book)).keys() <= numbers(json.loads(once.content or b"{}")).keys()


def test_of_patches_at_the_same_time_none_is_lost_without_a_word(tmp_path: Path) -> None:
    home = ensure_home(tmp_path / "home", "test")
    home.pricing_book_path.write_bytes(BOOK)
    one, other = (applied(patch({name: rates(2)})) for name in ("first", "second"))
    write_book(home, one, write_backup=False)
    with pytest.raises(BookError, match="was changed meanwhile; apply the patch again"):
        write_book(home, other, write_backup=False)
    assert "first" in json.loads(home.pricing_book_path.read_bytes())["providers"]["claude"]["models"]


# -------------------------------------------------------------------- what a provider says besides


def test_a_fee_that_a_patch_brings_is_told() -> None:
    found = applied(json.dumps({"providers": {"codex": {"subscription_usd_month": 200}}}).encode())

    assert (found.summary.providers_added, found.summary.fields_added) == (["codex"], ["codex.subscription_usd_month"])
    assert document(found)["providers"]["codex"]["subscription_usd_month"] == 200


def test_a_fee_that_the_book_has_stays() -> None:
    found = applied(json.dumps({"providers": {"claude": {"subscription_usd_month": 100}}}).encode())

    assert (found.changed, found.summary.fields_added) == (False, [])
