"""Pictures of what a model predicted of unseen texts."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wine_gpt.evaluation.predictions import Floats, Prediction
from wine_gpt.plots import PALE, WINE, new_axes, save_axes

BINS = 10
# a place or a bar that rests on fewer texts says nothing
FEWEST_TEXTS = 5
MOST_BARS = 20
RESAMPLES = 1000


def save_reliability(path: Path, predictions: Sequence[Prediction]) -> None:
    """Draw how often the likeliest next token came, over the probability that the model gave it."""
    confidence, right = (
        np.concatenate([getattr(prediction, name) for prediction in predictions]) for name in ("confidence", "right")
    )
    axes = new_axes("probability of the likeliest next word", "share of cases in which it came")
    axes.plot([0, 1], [0, 1], color=PALE, linestyle="--", linewidth=1, label="as likely as said")
    bins = reliability(confidence, right)
    axes.plot(bins[:, 0], bins[:, 1], color=WINE, marker="o", label="this model")
    axes.bar(bins[:, 0], bins[:, 2] / bins[:, 2].sum(), width=0.03, color=PALE, label="share of the words")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    save_axes(axes, path)


def reliability(confidence: Floats, right: Any) -> Floats:  # noqa: ANN401 - bools
    """Return mean confidence, share right and number of tokens of each tenth that has any: float64, (bins, 3)."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    rows = [(confidence[bins == index], right[bins == index]) for index in np.unique(bins)]
    return np.array([[of_bin.mean(), came.mean(), len(came)] for of_bin, came in rows])


def calibration_error(predictions: Sequence[Prediction]) -> float:
    """Return the expected calibration error (Guo et al. 2017): mean |confidence − share right|, 0 to 1."""
    confidence, right = (
        np.concatenate([getattr(prediction, name) for prediction in predictions]) for name in ("confidence", "right")
    )
    bins = reliability(confidence, right)
    return float(np.average(np.abs(bins[:, 0] - bins[:, 1]), weights=bins[:, 2]))


def save_loss_by_position(path: Path, predictions: Sequence[Prediction]) -> None:
    """Draw the mean loss of a text's second, third … token, with the interval of two standard errors."""
    longest = max(len(prediction.nats) for prediction in predictions)
    columns = [
        np.array([prediction.nats[place] for prediction in predictions if len(prediction.nats) > place])
        for place in range(longest)
    ]
    columns = [column for column in columns if len(column) >= min(FEWEST_TEXTS, len(predictions))]
    places = np.arange(2, len(columns) + 2)
    means = np.array([column.mean() for column in columns])
    errors = np.array([column.std() / np.sqrt(len(column)) for column in columns])
    axes = new_axes("place in the text", "nats per token")
    axes.fill_between(places, means - 2 * errors, means + 2 * errors, color=PALE, alpha=0.5, linewidth=0)
    axes.plot(places, means, color=WINE, label="mean, ± 2 standard errors")
    save_axes(axes, path)


def save_loss_by_label(path: Path, field: str, labels: Sequence[str], predictions: Sequence[Prediction]) -> None:
    """Draw nats per word of the commonest labels' texts, each with a 95% interval (bootstrap over the texts)."""
    groups: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
    for label, prediction in zip(labels, predictions, strict=True):
        groups[label].append((prediction.nats.sum(), prediction.words))
    common = sorted(groups, key=lambda label: (-len(groups[label]), label))[:MOST_BARS]
    kept = [label for label in common if len(groups[label]) >= FEWEST_TEXTS] or common
    rows = sorted(((label, *_nats_per_word(groups[label])) for label in kept), key=lambda row: -row[1])
    axes = new_axes("nats per word", "", height=1 + 0.28 * len(rows))
    for row, (_, mean, low, high) in enumerate(rows):
        axes.plot([low, high], [row, row], color=PALE, linewidth=3)
        axes.plot(mean, row, color=WINE, marker="o", linestyle="", label="mean, 95% interval" if row == 0 else None)
    # "$" would begin a formula
    names = [f"{label} ({len(groups[label])})".replace("$", r"\$") for label, *_ in rows]
    axes.set_yticks(range(len(rows)), names)
    axes.set_title(f"{field} (reviews)", fontsize="medium", loc="left")
    save_axes(axes, path)


def _nats_per_word(texts: Sequence[tuple[float, int]]) -> tuple[float, float, float]:
    """Return mean and interval of all texts' nats divided by all their words."""
    sums = np.array(texts)
    drawn = np.random.default_rng(0).integers(0, len(sums), (RESAMPLES, len(sums)))
    resampled = sums[drawn].sum(axis=1)
    low, high = np.quantile(resampled[:, 0] / resampled[:, 1], [0.025, 0.975])
    total = sums.sum(axis=0)
    return float(total[0] / total[1]), float(low), float(high)
