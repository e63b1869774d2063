"""Attack the published index of training spans in its old and new form: how much of the training texts comes back?

python benchmarks/index_attack.py RUN

RUN is a finished run whose corpus is still where it was. The attacker has the published files: the index, the
vocabulary and the model. The longest run of words that an attack adds to its seed is compared with the training texts.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.span_attack import (
    NextWords,
    SpanFilter,
    Words,
    chain,
    guess,
    longest_verbatim,
    overlapping,
    published,
    seeds_in,
)
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from wine_gpt.config import PretrainConfig
from wine_gpt.config_io import parse_config
from wine_gpt.data.reviews import load_reviews
from wine_gpt.data.template import ReviewTemplate
from wine_gpt.evaluation.ngram_index import build_index
from wine_gpt.generation.generate import generate_texts
from wine_gpt.modeling.pretrained import load_model
from wine_gpt.tokenizer import class_words, load_tokenizer

BEAMS = 64


def main() -> None:
    """Print a row for each form of the index and each attack."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", metavar="RUN", type=Path)
    parser.add_argument("--seeds", type=int, default=40, help="known texts, and generated ones")
    arguments = parser.parse_args()
    data = parse_config(PretrainConfig, [str(arguments.run / "config.yaml")]).data
    model, tokenizer = load_model(arguments.run), load_tokenizer(arguments.run)
    splits = load_reviews(data).splits
    train, unseen = (_words(splits[name][data.text_field]) for name in ("train", "test"))
    haystack = " | ".join(["", *map(" ".join, train), ""])
    vocabulary = sorted(word for word in tokenizer.get_vocab() if not word.startswith("["))
    with tempfile.TemporaryDirectory() as folder:
        index = build_index(map(str, splits["train"][data.text_field]), Path(folder) / "index")
    draw = random.Random(0)
    known = draw.sample([words for words in train if len(words) >= 30], arguments.seeds)
    prefix = ReviewTemplate.from_config(data).prefix
    texts = generate_texts(model, tokenizer, [prefix] * arguments.seeds, seed=0)
    generated = [tuple(class_words(text)) for text in texts]
    print(f"{len(train):,} training texts, {len(vocabulary):,} words, {index.ngrams:,} spans\n")
    print("| index | attack | seeds | s per seed | words added: median | longest | whole texts |")
    print("|---|---|---|---|---|---|---|")
    next_words = model_words(model, tokenizer, prefix)
    for label, spans in (("every 6 words", overlapping(train)), ("12 words, apart", published(index))):
        # a random position, as an attacker does not know where spans begin
        places = [draw.randrange(len(words) - spans.n) for words in known]
        cut = [words[place : place + spans.n] for words, place in zip(known, places, strict=True)]
        whole = [words[: spans.n] for words in known]
        sampled = [seed for words in generated for seed in seeds_in(spans, words)][: arguments.seeds]
        for attack, seeds in (("known words, vocabulary", cut), ("generated words, vocabulary", sampled)):
            report(label, attack, seeds, haystack, lambda seed, spans=spans: chain(spans, seed, vocabulary))
        beam = f"first {spans.n} words, {BEAMS} beams of the model"
        report(label, beam, whole, haystack, lambda seed, spans=spans: guess(spans, seed, next_words, width=BEAMS))
    print(f"\nunseen texts that share a span with the index: {_shared(published(index), unseen):.2%}")


def report(label: str, attack: str, seeds: Sequence[Words], haystack: str, run: Callable[[Words], Words]) -> None:
    """Run an attack from each seed and print its row."""
    started = time.perf_counter()
    rebuilt = [run(seed) for seed in seeds]
    seconds = (time.perf_counter() - started) / max(len(seeds), 1)
    added = [max(longest_verbatim(text, haystack) - len(seed), 0) for text, seed in zip(rebuilt, seeds, strict=True)]
    wholes = sum(f"| {' '.join(text)} |" in haystack or _has_text(text, haystack) for text in rebuilt)
    figures = f"{median(added):g} | {max(added)} | {wholes}" if added else "- | - | -"
    print(f"| {label} | {attack} | {len(seeds)} | {seconds:.2f} | {figures} |", flush=True)


def model_words(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, prefix: str) -> NextWords:
    """Return the model's most likely next words after a text without its header."""
    header: list[int] = tokenizer(f"{prefix} :")["input_ids"]
    names = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))

    @torch.inference_mode()
    def next_words(prefixes: Sequence[Words]) -> list[list[tuple[str, float]]]:
        ids = torch.tensor([header + tokenizer.convert_tokens_to_ids(list(text)) for text in prefixes])
        logits = model(ids[:, -model.config.n_positions :], logits_to_keep=1).logits[:, -1].log_softmax(-1)
        best = logits.topk(BEAMS)
        return [
            [(names[word], value) for word, value in zip(words, values, strict=True)]
            for words, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]

    return next_words


def _words(descriptions: Iterable[object]) -> list[Words]:
    return [tuple(class_words(str(description))) for description in descriptions]


def _has_text(words: Words, haystack: str) -> bool:
    """Return whether the rebuilt words contain a whole training text."""
    joined = f" {' '.join(words)} "
    return any(f" {text.strip()} " in joined for text in haystack.split("|") if len(text.split()) > 6)


def _shared(spans: SpanFilter, texts: Sequence[Words]) -> float:
    return sum(next(seeds_in(spans, words), None) is not None for words in texts) / len(texts)


if __name__ == "__main__":
    main()
