"""Measure whether pretraining on reviews helps a classifier, by the number of labeled training reviews.

python benchmarks/classification.py runs/base --label variety

Each method learns the same random subsets of the training reviews, of which the larger contain the smaller ones, and
is scored on all test reviews with a label, which the base has not seen. Methods: the commonest label; TF-IDF with
logistic regression; logistic regression on the base's frozen states, averaged over the words; the base's network from
random weights (scratch) and from the base's weights (pretrained), both trained with the settings of
configs/finetune/classify.yaml except for the epochs, of which the one with the lowest validation loss is kept. A run
appends a JSON line to --output, and runs that are there are not repeated. The output is a Markdown table.
"""

import argparse
import dataclasses
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from datasets import Dataset, DatasetDict
from rows import append, read
from transformers import GPT2LMHeadModel, set_seed

from wine_gpt.config import FinetuneConfig
from wine_gpt.config_io import parse_config
from wine_gpt.data.batching import Indices, collate, evaluation_batches
from wine_gpt.data.reviews import RUNNING_TEXT
from wine_gpt.finetuning.base import Base, load_base, load_base_reviews
from wine_gpt.modeling.pretrained import load_model
from wine_gpt.modeling.scoring import SCORING_TOKENS
from wine_gpt.tasks.classification.baselines import COMMONEST, TF_IDF, score_commonest, score_tf_idf
from wine_gpt.tasks.classification.classify import label_texts
from wine_gpt.tasks.classification.labels import find_labels
from wine_gpt.tasks.classification.objective import Classification, build_classifier, last_word
from wine_gpt.tasks.classification.results import ClassifierScore
from wine_gpt.tokenizer import tokenize_splits
from wine_gpt.training.accelerator import accelerator_session
from wine_gpt.training.trainer import Trainer

FROZEN, SCRATCH, PRETRAINED = "frozen states + logistic regression", "network from scratch", "pretrained network"
METHODS = (COMMONEST, TF_IDF, FROZEN, SCRATCH, PRETRAINED)
ALL = 0
# training reviews to epochs: smaller sets need more passes until the validation loss rises
EPOCHS = {100: 8, 500: 6, 2000: 4, ALL: 3}


@dataclasses.dataclass(frozen=True)
class Row:
    """One run; ``reviews`` is 0 for all."""

    label: str
    method: str
    reviews: int
    seed: int
    accuracy: float
    macro_f1: float
    nats_per_review: float
    test_reviews: int
    best_epoch: int | None
    cpu_seconds: float
    mean_distance: float | None = None

    @property
    def key(self) -> tuple[str, str, int, int]:
        """What distinguishes runs."""
        return self.label, self.method, self.reviews, self.seed


class Comparison:
    """The labeled reviews of a base, and the methods that learn some of them."""

    def __init__(self, base: Base, config: FinetuneConfig) -> None:
        self.base = base
        self.config = config
        reviews = load_base_reviews(base, config)
        labels = find_labels(reviews.splits, str(config.label), config.min_reviews, config.bands)
        self.labels, self.texts = label_texts(reviews, base.template.text_field, labels)
        self.tokenized = tokenize_splits(self.texts, base.tokenizer, RUNNING_TEXT)

    def score(self, method: str, chosen: Indices, epochs: int, seed: int) -> tuple[ClassifierScore, int | None]:
        """Score a method that learns the chosen training reviews; return the best epoch of a network too."""
        labels = self.labels
        classes, ordered, train, test = (
            len(labels.names),
            labels.ordered,
            labels.ids["train"][chosen],
            labels.ids["test"],
        )
        texts = self.texts
        if method == COMMONEST:
            return score_commonest(train, test, classes, ordered), None
        if method == TF_IDF:
            learned, held_out = texts["train"].select(chosen)[RUNNING_TEXT][:], texts["test"][RUNNING_TEXT][:]
            return score_tf_idf((learned, train), (held_out, test), classes, ordered), None
        if method == FROZEN:
            return self._frozen(chosen), None
        return self._network(chosen, epochs, seed, pretrained=method == PRETRAINED)

    def _frozen(self, chosen: Indices) -> ClassifierScore:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        labels = self.labels
        model = load_model(self.base.path).eval()
        train, test = (
            self._states(model, split) for split in (self.tokenized["train"].select(chosen), self.tokenized["test"])
        )
        # the penalty is not tuned
        regression = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
        regression.fit(train, labels.ids["train"][chosen])
        probabilities = np.full((len(test), len(labels.names)), 1e-12)
        probabilities[:, regression.classes_] = regression.predict_proba(test)
        return ClassifierScore.of(np.log(probabilities.clip(1e-12)), labels.ids["test"], labels.ordered)

    @torch.no_grad()
    def _states(self, model: GPT2LMHeadModel, split: Dataset) -> np.ndarray:
        """Return each review's last hidden states, averaged over its words."""
        found = np.empty((len(split), model.config.n_embd), np.float32)
        for indices in evaluation_batches(split, model.config.n_positions, SCORING_TOKENS):
            rows = collate(split, indices, model.config.n_positions, self.base.tokenizer.eos_token_id)
            hidden = model.transformer(rows.input_ids, use_cache=False).last_hidden_state
            real = torch.arange(hidden.shape[1]) <= last_word(rows)[:, None]
            found[indices] = ((hidden * real[:, :, None]).sum(1) / real.sum(1, keepdim=True)).numpy()
        return found

    def _network(
        self, chosen: Indices, epochs: int, seed: int, pretrained: bool
    ) -> tuple[ClassifierScore, int | None]:
        labels, training = self.labels, dataclasses.replace(self.config.training, epochs=epochs, seed=seed)
        language_model = load_model(self.base.path)
        if not pretrained:
            set_seed(seed)
            language_model = GPT2LMHeadModel(language_model.config)
        model = build_classifier(language_model, labels.names, self.base.tokenizer, seed)
        splits = DatasetDict({**self.tokenized, "train": self.tokenized["train"].select(chosen)})
        ids = {**labels.ids, "train": labels.ids["train"][chosen]}
        objective = Classification(model, self.base.tokenizer, splits, ids, labels.ordered)
        with tempfile.TemporaryDirectory() as folder, accelerator_session(training, Path(folder)) as accelerator:
            return self._train(objective, training, accelerator, Path(folder))

    def _train(
        self, objective: Classification, training: object, accelerator: Accelerator, folder: Path
    ) -> tuple[ClassifierScore, int | None]:
        trainer = Trainer(objective, training, accelerator, folder, {})
        trainer.run()
        best = trainer.state.best
        return objective.score(self.tokenized["test"], "test", accelerator), best.epoch if best else None


def main() -> None:
    """Run what is not finished, and print all runs of the label."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("base")
    parser.add_argument("--label", default="variety")
    parser.add_argument("--reviews", nargs="+", type=int, default=[*EPOCHS], help="0: all")
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[42, 43, 44])
    parser.add_argument("--output", type=Path, default=Path("runs/classification.jsonl"))
    arguments = parser.parse_args()
    settings = ["finetune/classify.yaml", "--base", arguments.base, "--label", arguments.label]
    comparison = Comparison(load_base(arguments.base), parse_config(FinetuneConfig, settings))
    for reviews in arguments.reviews:
        for seed in arguments.seeds:
            for method in arguments.methods:
                if all(row.key != (arguments.label, method, reviews, seed) for row in read(arguments.output, Row)):
                    row = run(comparison, method, reviews, seed)
                    append(arguments.output, row)
                    print(row, flush=True)
    print(to_table([row for row in read(arguments.output, Row) if row.label == arguments.label]))


def run(comparison: Comparison, method: str, reviews: int, seed: int) -> Row:
    """Learn a random subset and score the method."""
    started = time.process_time()
    every = len(comparison.tokenized["train"])
    chosen = np.sort(np.random.default_rng(seed).permutation(every)[: reviews or every])
    score, best_epoch = comparison.score(method, chosen, EPOCHS[reviews], seed)
    return Row(
        label=str(comparison.config.label),
        method=method,
        reviews=reviews,
        seed=seed,
        accuracy=round(score.accuracy, 4),
        macro_f1=round(score.macro_f1, 4),
        nats_per_review=round(score.nats_per_review, 4),
        test_reviews=score.reviews,
        best_epoch=best_epoch,
        cpu_seconds=round(time.process_time() - started, 1),
        mean_distance=None if score.mean_distance is None else round(score.mean_distance, 4),
    )


def to_table(rows: list[Row]) -> str:
    """Return :func:`describe`'s cells by method and number of reviews."""
    cells: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for row in rows:
        cells[row.method, row.reviews].append(row)
    sizes = sorted({row.reviews for row in rows}, key=lambda size: size or float("inf"))
    head = " | ".join(f"{size:,} reviews" if size else "all reviews" for size in sizes)
    lines = [f"| method | {head} |", "|---" * (len(sizes) + 1) + "|"]
    for method in METHODS:
        texts = [describe(cells[method, size]) for size in sizes]
        lines.append(f"| {method} | {' | '.join(texts)} |")
    return "\n".join(lines)


def describe(rows: list[Row]) -> str:
    """Return a cell: accuracy (lowest to highest), macro-F1, mean distance in labels, the number of seeds if not 3."""
    if not rows:
        return "not measured"
    accuracies = [row.accuracy for row in rows]
    spread = f" ({min(accuracies):.1%} to {max(accuracies):.1%})" if len(rows) > 1 else ""
    seeds = "" if len(rows) == 3 else f", {len(rows)} seed{'s' if len(rows) > 1 else ''}"
    distances = [row.mean_distance for row in rows if row.mean_distance is not None]
    distance = f", {statistics.mean(distances):.2f}" if distances else ""
    macro_f1 = statistics.mean(row.macro_f1 for row in rows)
    return f"{statistics.mean(accuracies):.1%}{spread}, {macro_f1:.3f}{distance}{seeds}"


if __name__ == "__main__":
    main()
