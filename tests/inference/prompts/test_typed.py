"""What of a message was typed, and that no secret in it leaves the module."""

from __future__ import annotations

import csv
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.inference.prompts import masking, typed
from tokenledger_dagster.inference.prompts.masking import masked, patterns
from tokenledger_dagster.inference.prompts.registry import READERS
from tokenledger_dagster.inference.prompts.typed import NO_TEXT, NOT_TYPED, TOOL_RESULT, Words, words_of, wrappers

with masking.PATH.open(encoding="utf-8", newline="") as handle:
    EXAMPLES = [(row["kind"], row["example"]) for row in csv.DictReader(handle)]


# ------------------------------------------------------------------ what was typed


@pytest.mark.parametrize(
    ("client", "content", "said"),
    [
        ("claude-code", "Sort them.", "Sort them."),
        ("claude-code", [{"type": "text", "text": "Sort"}, {"type": "text", "text": "them."}], "Sort\nthem."),
        ("claude-code", "<system-reminder>a</system-reminder>Sort <system-reminder>b", "Sort"),
        ("claude-code", [{"type": "image"}, {"type": "text", "text": " "}], ""),
        ("claude-code", [{"type": "tool_result", "content": "x"}, {"type": "text", "text": "y"}], ""),
        ("claude-code", "<local-command-stdout>x</local-command-stdout>", ""),
        ("claude-code", "What is <bash-input>?", "What is <bash-input>?"),
        ("codex", "# Files mentioned by the user:\n## a.png\n\n## My request for Codex:\nLook at it.", "Look at it."),
        ("cursor", "<user_query>\nRun it.\n</user_query>\n<rules>x</rules>", "Run it."),
        ("cline", '<user_input mode="act">Count.</user_input>', "Count."),
        ("cline", "Why is <task> empty?", "Why is <task> empty?"),
        ("gemini-cli", {"text": "one part"}, "one part"),
        ("kimi", "<system>now</system>", ""),
        ("pi", None, ""),
        ("pi", 7, ""),
        ("pi", [7, None, ["x"], {"text": 7}], ""),
    ],
)
def test_words_without_what_a_program_put_around_them(client: str, content: object, said: str) -> None:
    assert words_of(client, content).text == said


def test_a_message_without_words_says_why() -> None:
    assert words_of("codex", [{"type": "input_image"}]) == Words("", NO_TEXT)
    assert words_of("codex", "<environment_context>x") == Words("", NOT_TYPED)
    assert words_of("gemini-cli", [{"functionResponse": {}}]) == Words("", TOOL_RESULT)


def test_every_rule_is_for_a_client_that_is_read_or_for_all() -> None:
    assert set(wrappers()) <= {*READERS, "*"}


def test_a_damaged_table_is_told_in_one_line(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    path = typed.PATH.__class__(str(tmp_path)) / "rules.csv"
    path.write_text("client,rule,start,end,why\ncodex,perhaps,<x>,,\n")
    monkeypatch.setattr(typed, "PATH", path)
    with pytest.raises(TokenLedgerError, match=r"rules\.csv: cannot be read \(.*perhaps.*\); mend the file"):
        typed.wrappers.__wrapped__()
    path.write_text("kind,needs,pattern,unless,example\nkey,,(,,\n")
    monkeypatch.setattr(masking, "PATH", path)
    with pytest.raises(TokenLedgerError, match=r"rules\.csv: cannot be read \(missing \)"):
        masking.patterns.__wrapped__()


# ------------------------------------------------------------------ secrets


@pytest.mark.parametrize(("kind", "example"), EXAMPLES)
def test_a_secret_of_each_kind_is_masked_by_its_own_pattern(kind: str, example: str) -> None:
    text, count = masked(f"Look at {example} please.", 2_000)

    assert count == 1
    assert f"[{kind}]" in text
    assert text.startswith("Look at ")
    assert text.endswith(" please.")


@pytest.mark.parametrize(
    ("kind", "secret"),
    [
        ("private key", "-----BEGIN PRIVATE KEY-----\nMIIB\nand no end of it"),
        ("password", "db_password = 'limpets9'"),
        ("password", '"password":"limpets9"'),
        ("password", "the password is limpets9"),
        ("api key", "OPENAI_API_KEY=sk_kelp_tidepool"),
        ("api key", "the api key is 0a1b2c3d4e5f"),
        ("e-mail", "ada@tidepool.example"),
        ("e-mail", "ada@fjærepøl.example"),
        ("e-mail", "ada%40tidepool.example"),
        ("password", 'DB_PASSWORD="limpets9 and kelp"'),
        ("password", '{\\"password\\": \\"limpets9\\"}'),
        ("password", "**Password:** limpets9"),
        ("password", "my password is: `limpets9`"),
        ("password", "Passwort: limpets9"),
        ("password", "curl -u kelp:limpets9 https://tide.example"),
        ("password", "mysql -u kelp -plimpets9 tides"),
        ("token", "GITHUB_TOKEN=kelp_tidepool"),
        ("token", '{"token": "kelp_tidepool-without-digits"}'),
        ("token", "authorization: bearer kelp_tidepool"),
        ("token", "https://tide.example/blob?sv=2020&sig=kelp_tidepool%3D"),
        ("token", "https://hooks.slack.com/services/T00/B00/kelp_tidepool"),
        ("token", "xai-kelp_tidepoolkelp_tidepool"),
        ("api key", "AccountKey=kelp_tidepool0a1b2c3d==;"),
        ("key", "w0a1b2c3dtnFEMI/K7MDENG/bPxRfiCYEXAMPLEK"),
    ],
)
def test_secrets_as_people_paste_them(kind: str, secret: str) -> None:
    text, _ = masked(f"{secret}", 2_000)

    assert f"[{kind}]" in text
    assert not any(part in text for part in ("limpets9", "0a1b2c3d", "kelp_tidepool", "MIIB", "ada@"))


@pytest.mark.parametrize(
    "text",
    [
        "The token: string; the password field should be hidden.",
        "Commit 3f2a1c9e8b7d6540a1b2c3d4e5f60718293a4b5c broke src/components/HeaderOfTheWholePage2.tsx",
        "basic authentication and bearer authentication, please",
        "Why is session 019abe56-c9ad-7f12-ac15-f98d7c9b13bf empty?",
        "import { useLongNamesForEverythingInThisFile } from './secrets'",
        "The key is to write the tests first.",
        "password is required; pass: boolean; the auth token is validated and the client secret is optional",
        "bypass: false, compass: north-west",
        "password = self.password; api_key = settings.api_key; secret = os.environ['SECRET']",
        "use sk-learn-contrib or sk_buff_alloc, and pk_user_accounts",
        "test_ThatTheParser_HandlesCase42_Correctly calls getUserAccountByIdAndNameForVersion2Handler",
        "basic understanding1 of logo@2x.png",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    ],
)
def test_ordinary_words_stay(text: str) -> None:
    assert masked(text, 2_000) == (text, 0)


def secret_in(example: str) -> str:
    """The part of an example that its pattern replaces."""
    for one in patterns():
        if found := one.shape.search(example):
            return found["secret"] if "secret" in one.shape.groupindex else found[0]
    raise AssertionError(example)


@settings(max_examples=60)
@given(st.text(max_size=100), st.sampled_from(EXAMPLES), st.text(max_size=100))
def test_a_secret_is_masked_whatever_stands_around_it(before: str, planted: tuple[str, str], after: str) -> None:
    _, example = planted

    text, count = masked(f"{before}\n{example}\n{after}", 2_000)

    assert count >= 1
    assert secret_in(example) not in text


@given(st.integers(0, 80))
def test_a_secret_across_the_cut_leaves_no_part_of_itself(shift: int) -> None:
    key = "sk-" + "Kelp7" * 12
    text, _ = masked("x" * (100 - shift) + " " + key, 100)

    assert "Kelp" not in text
    assert len(text) <= 100


LONG = (
    "a",
    "a@",
    "eyJ",
    "-----BEGIN PRIVATE KEY-----",
    "password is ",
    "secret key ",
    "A1",
    "://a:",
    "x.",
    "a1-",
    "sk-",
    "cookie: a=b; ",
    "authorization: a ",
    "mysql -p",
    "-u a:",
    "A_TOKEN=",
    "?sig=",
    "aA1/",
)


@pytest.mark.parametrize("piece", LONG)
def test_no_text_takes_long(piece: str) -> None:
    text = (piece * 100_000)[:1_000_000]
    started = time.process_time()

    masked(text, 2_000)

    assert time.process_time() - started < 0.5, "a pattern that looks back and forth takes seconds"


def test_patterns_are_told_apart_by_what_they_need() -> None:
    assert all(word == word.lower() for one in patterns() for word in one.needs)
    assert [one.kind for one in patterns() if not one.needs] == ["key"]
