"""Plots of a model's predictions on held-out texts: reliability, loss by position, loss by label."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wine_gpt.data.records import shorten
from wine_gpt.data.subsets import value_key
from wine_gpt.evaluation.bootstrap import Interval, nats_per_word
from wine_gpt.evaluation.predictions import Prediction, reliability
from wine_gpt.plots import PALE, WINE, new_axes, save_axes

# the mean of fewer texts is too uncertain to draw
MIN_TEXTS = 5
MAX_LABELS = 20
# characters of a label; longer ones leave no room for the axes
LABEL_LENGTH = 40


def save_reliability(path: Path, predictions: Sequence[Prediction]) -> None:
    """Draw a reliability diagram: accuracy of the most likely next token over its probability."""
    bins = reliability(predictions)
    axes = new_axes("probability of the most likely next token", "accuracy: fraction of cases in which it is correct")
    axes.plot([0, 1], [0, 1], color=PALE, linestyle="--", linewidth=1, label="perfect calibration")
    axes.plot(bins[:, 0], bins[:, 1], color=WINE, marker="o", label="this model")
    axes.bar(bins[:, 0], bins[:, 2] / bins[:, 2].sum(), width=0.03, color=PALE, label="fraction of the tokens")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    save_axes(axes, path)


def save_loss_by_position(path: Path, predictions: Sequence[Prediction]) -> None:
    """Draw the mean loss of the tokens at each position of a text, ± two standard errors.

    The first token has position 1; the tokens of the first word are not scored.
    """
    by_position: defaultdict[int, list[float]] = defaultdict(list)
    for prediction in predictions:
        for position, nats in enumerate(prediction.nats.tolist(), prediction.first + 1):
            by_position[position].append(nats)
    fewest = min(MIN_TEXTS, max(map(len, by_position.values())))
    positions = [position for position in sorted(by_position) if len(by_position[position]) >= fewest]
    columns = [np.array(by_position[position]) for position in positions]
    means = np.array([column.mean() for column in columns])
    # a single text has no standard error
    errors = np.array([column.std(ddof=1) / np.sqrt(len(column)) if len(column) > 1 else 0.0 for column in columns])
    axes = new_axes("position in the text", "nats per token")
    axes.fill_between(positions, means - 2 * errors, means + 2 * errors, color=PALE, alpha=0.5, linewidth=0)
    axes.plot(positions, means, color=WINE, label="mean, ± 2 standard errors")
    save_axes(axes, path)


def save_loss_by_label(path: Path, field: str, labels: Sequence[str], predictions: Sequence[Prediction]) -> None:
    """Draw nats per word for the commonest labels, each with a 95% bootstrap interval over its texts.

    Labels are compared by :func:`value_key`, and named by their most frequent spelling.
    """
    spellings: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for label in labels:
        spellings[value_key(label)][label.strip()] += 1
    by_label: defaultdict[str, list[Prediction]] = defaultdict(list)
    for label, prediction in zip(labels, predictions, strict=True):
        by_label[spellings[value_key(label)].most_common(1)[0][0]].append(prediction)
    common = sorted(by_label, key=lambda label: (-len(by_label[label]), label))[:MAX_LABELS]
    kept = [label for label in common if len(by_label[label]) >= MIN_TEXTS] or common
    rows = [(label, _interval(by_label[label])) for label in kept]
    rows.sort(key=lambda row: -row[1].value)
    axes = new_axes("nats per word", "", height=1 + 0.28 * len(rows))
    for row, (_, interval) in enumerate(rows):
        axes.plot([interval.low, interval.high], [row, row], color=PALE, linewidth=3)
        legend = f"mean, {interval.level:.0%} interval" if row == 0 else None
        axes.plot(interval.value, row, color=WINE, marker="o", linestyle="", label=legend)
    names = [f"{shorten(label, LABEL_LENGTH)} ({len(by_label[label])})" for label, _ in rows]
    # otherwise matplotlib reads text between "$" as a formula
    axes.set_yticks(range(len(rows)), names, parse_math=False)
    axes.set_title(f"{field} (reviews)", fontsize="medium", loc="left", parse_math=False)
    save_axes(axes, path)


def _interval(predictions: Sequence[Prediction]) -> Interval:
    nats, words = ([prediction.nats.sum() for prediction in predictions], [p.words for p in predictions])
    return nats_per_word(np.array(nats, float), np.array(words, float), seed=0)
