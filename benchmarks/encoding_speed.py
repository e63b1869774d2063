"""Reviews per second from text to ids: the package's way, and ``tokenizers`` alone, alternating in one run.

python benchmarks/encoding_speed.py

The texts are 50,000 of the bundled sample's grammar; both must give the same ids.
"""

import statistics
import time

from transformers import PreTrainedTokenizerFast

from tools.sample_grammar.grammar import generate_records
from wine_gpt.data.formats import BATCH_ROWS
from wine_gpt.tokenizer import encode_reviews, train_tokenizer

REVIEWS = 50_000
ROUNDS = 5


def main() -> None:
    """Time both ways and print medians."""
    texts = [
        f"wine review : {record['country']} : {record['province']} : {record['variety']} : {record['description']}"
        for record in generate_records(REVIEWS, seed=42)
    ]
    tokenizer = train_tokenizer(texts)
    ways = {"tokenizers, encode_batch_fast": encode_batch_fast, "wine_gpt, encode_reviews": encode_reviews}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        ids = []
        for name, encode in ways.items():
            started = time.perf_counter()
            ids.append([row for batch in batches(texts) for row in encode(tokenizer, batch)])
            seconds[name].append(time.perf_counter() - started)
        assert ids[0] == ids[1]
    print("| way | reviews/s, median | range |\n|---|---|---|")
    for name, times in seconds.items():
        rates = [REVIEWS / time for time in times]
        print(f"| {name} | {statistics.median(rates):,.0f} | {min(rates):,.0f} to {max(rates):,.0f} |")


def batches(texts: list[str]) -> list[list[str]]:
    """Return the texts as the data are mapped: so many rows at a time."""
    return [texts[start : start + BATCH_ROWS] for start in range(0, len(texts), BATCH_ROWS)]


def encode_batch_fast(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> list[list[int]]:
    """Encode with the tokenizer's own parallel code."""
    eos = [tokenizer.eos_token_id]
    return [encoding.ids + eos for encoding in tokenizer.backend_tokenizer.encode_batch_fast(texts)]


if __name__ == "__main__":
    main()
