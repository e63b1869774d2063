"""Compare the reviews generated with different sampling settings with the real ones of a held-out split.

    python benchmarks/sampling.py runs/base
    python benchmarks/sampling.py runs/base --seeds 42 43 44 --settings temperature=0.9,top_p=0.95 temperature=1.0

For each setting a review is generated from the header of each review of the validation split, or of ``--split test``.
A Markdown table has the means over the seeds.
"""

import argparse
import statistics
from itertools import product
from typing import Any

from wine_gpt.base_model import data_settings
from wine_gpt.config import ScoreConfig
from wine_gpt.config_io import parse_config
from wine_gpt.data.reviews import load_reviews
from wine_gpt.data.template import ReviewTemplate
from wine_gpt.evaluation.evaluate import load_subject
from wine_gpt.evaluation.generated import ReviewGenerator, longest_description, read_reviews, with_fitting_headers
from wine_gpt.evaluation.sections import copying, diversity, recovery_rates

GRID = (
    *(f"temperature={temperature},top_p={top_p}" for temperature, top_p in product((0.7, 0.8, 0.9, 1.0), (0.9, 1.0))),
    *(f"temperature={temperature},top_p=0.95" for temperature in (0.8, 0.9, 1.0)),
    # the default top_k of transformers
    "temperature=0.8,top_k=50",
    *(f"temperature=0.9,top_p=0.95,repetition_penalty={penalty}" for penalty in (1.05, 1.2)),
    *(f"temperature=0.9,top_p=0.95,no_repeat_ngram_size={size}" for size in (3, 4)),
)
COLUMNS = ("variety", "country", "mean_longest", "share_10", "repeated_4", "distinct_2", "self_bleu")
ALL_WORDS = {"top_k": 0, "top_p": 1.0}
LENGTHS = ("mean_length", "length_distance")


def main() -> None:
    """Generate, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--data")
    parser.add_argument("--split", default="validation", choices=("validation", "test"))
    parser.add_argument("--seeds", nargs="+", type=int, default=[42])
    parser.add_argument("--settings", nargs="+", default=GRID, metavar="NAME=VALUE,…")
    arguments = parser.parse_args()
    given = ["--data.path", arguments.data] if arguments.data else []
    flags = ["--model", arguments.model, "--split", arguments.split, "--batch_size", "256", *given]
    config = parse_config(ScoreConfig, flags, defaults=data_settings(arguments.model))
    rows: dict[str, list[dict[str, float]]] = {}
    for seed in arguments.seeds:
        for setting, row in compare(config, arguments.settings, seed).items():
            rows.setdefault(setting, []).append(row)
    columns = (*COLUMNS, *LENGTHS)
    print(f"| sampling | {' | '.join(name.replace('_', ' ') for name in columns)} |")
    print("|---" * (len(columns) + 1) + "|")
    for setting, of_seeds in rows.items():
        means = [statistics.mean(row[name] for row in of_seeds) for name in columns]
        shown = [
            f"{mean:.1f}" if name in LENGTHS else f"{mean:.3f}" for name, mean in zip(columns, means, strict=True)
        ]
        print(f"| {setting.replace(',', ', ')} | {' | '.join(shown)} |")


def compare(config: ScoreConfig, settings: list[str], seed: int) -> dict[str, dict[str, float]]:
    """Return the figures of real reviews and of each setting's reviews."""
    model, tokenizer = load_subject(config.model)
    splits = load_reviews(config.data).splits
    template = ReviewTemplate.from_config(config.data)
    held_out = with_fitting_headers(splits[config.split], template, tokenizer, model.config.max_position_embeddings)
    train, real = (read_reviews(split, template) for split in (splits["train"], held_out))
    written = {"real": real.descriptions}
    for setting in settings:
        generator = ReviewGenerator(model, tokenizer, config.batch_size, seed, parsed(setting), template)
        written[setting] = generator.continuations(real.headers, longest_description(real, tokenizer), setting)
    rates = recovery_rates(written, real, train, config)
    return {
        setting: {
            **rates[setting],
            **copying(descriptions, train.descriptions).to_dict(),
            **diversity(descriptions, written["real"]).to_dict(),
        }
        for setting, descriptions in written.items()
    }


def parsed(setting: str) -> dict[str, Any]:
    """Parse ``name=value,…``; top_k and top_p default to all words."""
    pairs = (pair.split("=") for pair in setting.split(","))
    given = {name: float(value) if "." in value else int(value) for name, value in pairs}
    return {**ALL_WORDS, **given}


if __name__ == "__main__":
    main()
