"""Compare runs of different tokenizers on the same reviews: sizes, loss, and the words that each invents.

    python benchmarks/tokenizer_kinds.py winemag-data-first-8000.json runs/words runs/characters runs/bpe

Each run must have been scored with scripts/score.py. 400 reviews are generated with the prefix as the prompt. A word
is invented if no review of the file has it; only words of letters count.
"""

import sys
from collections import Counter
from pathlib import Path

import numpy as np

from wine_gpt.config import DataConfig
from wine_gpt.data.reviews import load_reviews, texts
from wine_gpt.evaluation.generated import ReviewGenerator
from wine_gpt.evaluation.results import EvaluationReport
from wine_gpt.files import read_record
from wine_gpt.modeling.pretrained import load_model_and_tokenizer
from wine_gpt.run_folder import EVALUATION, METRICS
from wine_gpt.tokenizer import class_words, encode_reviews

REVIEWS, BATCH, SEED, SHOWN = 400, 50, 42, 20
PREFIX = "wine review"


def main() -> None:
    """Print the figures of each run, and the commonest invented words."""
    reviews = load_reviews(DataConfig(path=sys.argv[1]))
    known = {word for split in reviews.splits.values() for text in texts(split) for word in class_words(text)}
    train = list(texts(reviews.splits["train"]))
    for run in map(Path, sys.argv[2:]):
        model, tokenizer = load_model_and_tokenizer(run)
        lengths = [len(ids) - 1 for ids in encode_reviews(tokenizer, train)]
        scored = read_record(run / EVALUATION / METRICS, EvaluationReport.from_dict).likelihood
        generator = ReviewGenerator(model, tokenizer, BATCH, SEED)
        written = generator.continuations([PREFIX] * REVIEWS, max(lengths), "writing reviews")
        words = [word for text in written for word in class_words(text) if word.isalpha()]
        invented = Counter(word for word in words if word not in known)
        fraction = invented.total() / len(words)
        print(
            f"{run}: vocabulary {len(tokenizer):,}, parameters {model.num_parameters():,}, "
            f"positions a review {np.mean(lengths):.0f}, at most {max(lengths)}, "
            f"{scored.bits_per_character:.3f} bits per character, {scored.nats_per_word:.3f} nats per word, "
            f"unknown {scored.unknown_rate:.2%}, invented {fraction:.2%} of {len(words):,} words: "
            f"{', '.join(word for word, _ in invented.most_common(SHOWN))}"
        )


if __name__ == "__main__":
    main()
