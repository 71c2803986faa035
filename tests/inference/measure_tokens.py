"""How far token estimates are off, by kind of text, and the weights that are shipped.

Here: texts found on this machine, real vocabularies, the fit, its errors on texts and kinds it was not fitted on, and
`config/token_estimator.json`. Not here: assertions (`test_estimates.py`), and estimates of logs.

The vocabularies are those that the package mistral-common brings along: none of Anthropic's, OpenAI's or Google's is
published with a package, so the figures say how well the method works, not how far it is off for these.

    uv run --with mistral-common==1.13.1 python tests/inference/measure_tokens.py
    uv run --with mistral-common==1.13.1 python tests/inference/measure_tokens.py --write config/token_estimator.json
"""

from __future__ import annotations

import argparse
import base64
import glob
import gzip
import hashlib
import itertools
import json
import random
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from tokenledger_dagster.fileio import write_json_atomic
from tokenledger_dagster.inference.estimates.estimator import Kind, Shipped, last_resort
from tokenledger_dagster.inference.estimates.features import FEATURES, features_of
from tokenledger_dagster.inference.estimates.fitting import Sample, error_of, fit
from tokenledger_dagster.inference.tokenization import Tokenizer, load_sentencepiece, load_tiktoken

ROOT = Path(__file__).parents[2]
STDLIB = sysconfig.get_paths()["stdlib"]
PACKAGES = sysconfig.get_paths()["purelib"]
FILES = {
    "python": [f"{STDLIB}/**/*.py"],
    "c_headers": ["/usr/include/**/*.h"],
    "javascript": ["/usr/share/nodejs/**/*.js", "/usr/lib/node_modules/**/lib/**/*.js"],
    "shell": ["/etc/init.d/*", "/usr/share/**/*.sh", "/usr/lib/git-core/*.sh"],
    "json": [f"{ROOT}/fixtures/**/*.json", f"{PACKAGES}/**/*.json"],
    "markdown": [f"{ROOT}/docs/**/*.md", f"{ROOT}/*.md", f"{PACKAGES}/**/*.md"],
    "english": ["/usr/share/vim/*/doc/*.txt", "/usr/share/doc/**/README*", "/usr/share/doc/**/changelog*.gz"],
    "logs": ["/var/log/*.log", "/var/log/**/*.log"],
    "european": [
        f"/usr/share/vim/*/tutor/tutor.{one}.utf-8" for one in ("de", "fr", "es", "it", "pl", "sv", "pt", "cs")
    ],
    "cyrillic": [f"/usr/share/vim/*/tutor/tutor.{one}.utf-8" for one in ("ru", "uk", "bg", "sr")],
    "cjk": [f"/usr/share/vim/*/tutor/tutor.{one}.utf-8" for one in ("ja", "ko", "zh", "zh_cn", "zh_tw")],
}
"""Where texts of each kind lie; what a machine does not have is told and left out."""
TEKKEN = "tekken_240911.json"
SENTENCEPIECE = ("mistral_instruct_tokenizer_240323.model.v3",)
TEXTS_PER_KIND = 200
TEXTS_PER_FILE = 10
"""Twice as many where a kind has few files."""
SHORTEST, LONGEST = 80, 4000
FOLDS = 5


class Text(NamedTuple):
    """A piece of a file."""

    kind: str
    file: str
    content: str


def main() -> int:
    """Measures, prints, and writes where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with tekken_240911.json; default: that of mistral_common")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the weights fitted on tekken to FILE")
    arguments = parser.parse_args()
    texts = list(_texts())
    folder = arguments.data or _bundled()
    shipped, errors, quarters = None, {}, []
    for name, tokenizer in _vocabularies(folder):
        samples = {kind: [_sample(tokenizer, text) for text in texts if text.kind == kind] for kind in _kinds(texts)}
        measured = _measured(name, samples)
        _print(name, tokenizer, measured)
        if shipped is None:
            shipped = measured
            continue
        everything = [one for found in samples.values() for one in found]
        errors[name] = round(error_of(shipped.weights, everything), 4)
        quarters.append(measured.characters_error)
        print(f"weights of {shipped.vocabulary} here: {errors[name] * 100:.1f} %")
    if shipped and errors and arguments.write:
        # the vocabulary of a log's model is none of these: what is expected is what was seen on another one
        shipped = msgspec.structs.replace(
            shipped,
            other_vocabularies=errors,
            expected_error=round(sum(errors.values()) / len(errors), 4),
            characters_error=round(sum(quarters) / len(quarters), 4),
        )
        write_json_atomic(arguments.write, shipped)
        print(f"wrote {arguments.write}", file=sys.stderr)
    return 0


# ------------------------------------------------------------------ texts


def _texts() -> Iterator[Text]:
    """Pieces of files, of many lengths, the same on every run over the same files."""
    yield from _pieces("diffs", _diffs())
    yield from _pieces("hashes", _hashes())
    for kind, patterns in FILES.items():
        paths = sorted({path for pattern in patterns for path in glob.glob(pattern, recursive=True)})
        contents = ((path, found) for path in _shuffled(kind, paths) if (found := _read(path)))
        yield from _pieces(kind, contents)


def _pieces(kind: str, files: Iterator[tuple[str, str]]) -> Iterator[Text]:
    """Some pieces of each file, from its lines."""
    chance, made = random.Random(kind), 0
    found = list(itertools.islice(files, TEXTS_PER_KIND))
    each = TEXTS_PER_FILE if len(found) * TEXTS_PER_FILE >= TEXTS_PER_KIND else 2 * TEXTS_PER_FILE
    for name, content in found:
        lines = content.splitlines(keepends=True)
        for _ in range(each):
            length = round(SHORTEST * (LONGEST / SHORTEST) ** chance.random())
            start = chance.randrange(len(lines))
            piece = ""
            for line in lines[start:]:
                if len(piece) >= length:
                    break
                piece += line
            if len(piece.strip()) < SHORTEST // 2:
                continue
            yield Text(kind, name, piece[:LONGEST])
            made += 1
            if made == TEXTS_PER_KIND:
                return
    print(f"{kind}: {made} texts instead of {TEXTS_PER_KIND} on this machine", file=sys.stderr)


def _shuffled(kind: str, paths: list[str]) -> list[str]:
    random.Random(kind).shuffle(paths)
    return paths


def _read(path: str) -> str:
    try:
        content = Path(path).read_bytes()[:2_000_000]
        text = (gzip.decompress(content) if path.endswith(".gz") else content).decode()
    except (OSError, EOFError, ValueError):
        return ""
    longest = max(map(len, text.splitlines()), default=0)
    return text if len(text) >= SHORTEST and longest < LONGEST else ""  # no minified code


def _diffs() -> Iterator[tuple[str, str]]:
    """Commits of this repository as an agent reads them."""
    command = ["git", "-C", str(ROOT), "log", "-p", "--no-color", "-n", "60", "--format=%x00commit %H%n%s"]
    done = subprocess.run(command, capture_output=True, check=False)
    for commit in done.stdout.decode("utf-8", "replace").split("\x00"):
        if len(commit) >= SHORTEST:
            yield commit[:47], commit


def _hashes() -> Iterator[tuple[str, str]]:
    """Listings as a checksum tool prints them; made here, since no log of one lies around."""
    for number in range(40):
        names = [f"{number}-{line}" for line in range(60)]
        yield f"list {number}", "".join(f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n" for name in names)


def _kinds(texts: list[Text]) -> list[str]:
    return sorted({text.kind for text in texts})


# ------------------------------------------------------------------ vocabularies


def _bundled() -> Path:
    try:
        import mistral_common
    except ImportError:
        raise SystemExit("mistral-common is not installed: run with `uv run --with mistral-common==1.13.1`") from None
    return Path(str(mistral_common.__file__)).parent / "data"


def _vocabularies(folder: Path) -> Iterator[tuple[str, Tokenizer]]:
    """The vocabulary the weights are fitted on, then the others."""
    with tempfile.TemporaryDirectory() as temporary:
        yield TEKKEN, _tekken(folder / TEKKEN, Path(temporary) / "ranks.tiktoken")
    for name in SENTENCEPIECE:
        yield name, load_sentencepiece(folder / name)


def _tekken(path: Path, ranks: Path) -> Tokenizer:
    """The ranks in that file, as this program reads ranks."""
    told = json.loads(path.read_bytes())
    wanted = told["config"]["default_vocab_size"] - told["config"]["default_num_special_tokens"]
    lines = []
    for entry in told["vocab"][:wanted]:
        base64.b64decode(entry["token_bytes"])
        lines.append(f"{entry['token_bytes']} {entry['rank']}\n")
    ranks.write_text("".join(lines))
    return load_tiktoken(ranks, pattern=told["config"]["pattern"])


def _sample(tokenizer: Tokenizer, text: Text) -> Sample:
    return Sample(features_of(text.content), len(tokenizer.encode(text.content)), f"{text.kind} {text.file}")


# ------------------------------------------------------------------ figures


def _measured(vocabulary: str, samples: dict[str, list[Sample]]) -> Shipped:
    everything = [one for found in samples.values() for one in found]
    quarter = last_resort().weights
    kinds: dict[str, Kind] = {}
    for kind, found in samples.items():
        others = [one for one in everything if one not in found]
        kinds[kind] = Kind(
            texts=len(found),
            characters_per_token=round(sum(one.features[1] for one in found) / sum(one.tokens for one in found), 2),
            characters_error=round(error_of(quarter, found), 4),
            cross_validated_error=round(_held_out(everything, found), 4),
            left_out_error=round(error_of(fit(others), found), 4),
        )
    return Shipped(
        schema_version=1,
        generated_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        fitted_with="tests/inference/measure_tokens.py, mistral-common 1.13.1",
        vocabulary=vocabulary,
        features=list(FEATURES),
        weights=[round(weight, 6) for weight in fit(everything)],
        texts=len(everything),
        expected_error=round(sum(one.cross_validated_error * one.texts for one in kinds.values()) / len(everything), 4),
        other_vocabularies={},
        characters_error=round(error_of(quarter, everything), 4),
        kinds=kinds,
    )


def _held_out(everything: list[Sample], wanted: list[Sample]) -> float:
    """Error on one kind of text, of weights fitted on other files of all kinds."""
    groups = sorted({one.group for one in everything})
    fold_of = {group: place % FOLDS for place, group in enumerate(groups)}
    total = 0.0
    for fold in range(FOLDS):
        weights = fit([one for one in everything if fold_of[one.group] != fold])
        held_out = [one for one in wanted if fold_of[one.group] == fold]
        total += error_of(weights, held_out) * len(held_out)
    return total / len(wanted)


def _print(name: str, tokenizer: Tokenizer, measured: Shipped) -> None:
    percent: Callable[[float], str] = lambda share: f"{share * 100:5.1f} %"  # noqa: E731
    print(f"\n{name}: {tokenizer.name}, {tokenizer.vocab_size:,} tokens, lossless: {tokenizer.lossless}")
    print(f"{'kind':<12}{'texts':>6}{'chars/token':>13}{'chars / 4':>11}{'other files':>13}{'other kinds':>13}")
    for kind, one in sorted(measured.kinds.items()):
        errors = (one.characters_error, one.cross_validated_error, one.left_out_error)
        print(f"{kind:<12}{one.texts:>6}{one.characters_per_token:>13}{''.join(percent(e).rjust(12) for e in errors)}")
    apart = sum(one.left_out_error * one.texts for one in measured.kinds.values()) / measured.texts
    errors = (measured.characters_error, measured.expected_error, apart)
    print(f"{'all':<12}{measured.texts:>6}{'':>13}{''.join(percent(e).rjust(12) for e in errors)}")
    weights = ", ".join(f"{name} {weight:.4f}" for name, weight in zip(FEATURES, measured.weights, strict=True))
    print(f"weights: {weights}")


if __name__ == "__main__":
    raise SystemExit(main())
