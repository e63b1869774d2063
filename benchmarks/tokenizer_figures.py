"""Measure how many real reviews are decoded to their own text, and whether a decoded prefix ever changes.

python benchmarks/tokenizer_figures.py winemag-data-first-8000.json

The argument is a file of Kaggle's JSON. The result is a Markdown table and is deterministic.
"""

import itertools
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Regex, decoders
from transformers import PreTrainedTokenizerFast

from wine_gpt.tokenizer import train_tokenizer

FIELDS = ("country", "province", "variety", "description")


def main() -> None:
    """Measure both decoders on unseen reviews, and the package's decoder on every prefix of every review."""
    texts = reviews(Path(sys.argv[1]))
    print(f"{len(texts):,} reviews\n")
    print("| tokenizer trained on | decoder | reviews without [UNK] | decoded to their text |\n|---|---|---|---|")
    for name, seen, unseen in (("the first 4,000", texts[:4000], texts[4000:]), ("all", texts, texts)):
        tokenizer = train_tokenizer(seen, 10_000 if seen is not texts else 10**6)
        ours = tokenizer.backend_tokenizer.decoder
        for label, decoder in (("three patterns", three_patterns()), ("wine_gpt", ours)):
            tokenizer.backend_tokenizer.decoder = decoder
            known, same = round_trip(tokenizer, unseen)
            print(f"| {name} | {label} | {known:,} of {len(unseen):,} | {same:,} ({same / known:.2%}) |", flush=True)
    tokenizer = train_tokenizer(texts)
    count = sum(changed_prefixes(tokenizer, text) for text in texts)
    print(f"\nprefixes that changed when a word followed: {count} in {len(texts):,} reviews")


def reviews(path: Path) -> list[str]:
    """Return the class's text of each record that has all fields."""
    records = json.loads(path.read_text(encoding="utf-8"))
    rows = [[record[field] for field in FIELDS] for record in records]
    return [" : ".join(["wine review", *row]) for row in rows if None not in row]


def three_patterns() -> decoders.Decoder:
    """Return a short chain of rules: closing punctuation, opening punctuation, hyphens and apostrophes."""
    return decoders.Sequence(
        [
            decoders.Replace(Regex(r"\A"), " "),
            decoders.Fuse(),
            decoders.Replace(Regex(r" (?=[.,;!?)\]%])"), ""),
            decoders.Replace(Regex(r"(?<=[(\[$#]) "), ""),
            decoders.Replace(Regex(r" (?=['/-])|(?<=[/-]) |(?<=') (?=(?:s|t|re|ve|ll|d|m)\b)"), ""),
        ]
    )


def round_trip(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> tuple[int, int]:
    """Return how many texts have no unknown word, and how many of these decode to their own text."""
    encoded = [(text, tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
    known = [(text, ids) for text, ids in encoded if tokenizer.unk_token_id not in ids]
    same = sum(tokenizer.decode(ids).strip() == re.sub(" +", " ", text.lower()).strip() for text, ids in known)
    return len(known), same


def changed_prefixes(tokenizer: PreTrainedTokenizerFast, text: str) -> int:
    """Return the number of k for which decode(ids[:k]) is no prefix of decode(ids[:k + 1])."""
    ids = tokenizer(text)["input_ids"]
    decoded = (tokenizer.decode(ids[:count], skip_special_tokens=True) for count in range(len(ids) + 1))
    return sum(not longer.startswith(shorter) for shorter, longer in itertools.pairwise(decoded))


if __name__ == "__main__":
    main()
