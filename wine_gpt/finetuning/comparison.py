"""A base and a model made of it, on the same reviews: how much lower the perplexity is, how sure that is, for many."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wine_gpt.files import write_atomically
from wine_gpt.modeling.scoring import Score, Sums
from wine_gpt.plots import PALE, WINE, new_axes, save_axes

RESAMPLES = 2000
LEVEL = 0.95
# with fewer reviews an interval over them says nothing
FEWEST_REVIEWS = 5
TABLE = "varieties"
COLUMNS = (
    *("value", "method", "reviews", "train", "validation", "test", "base_perplexity", "perplexity", "change", "low"),
    *("high", "text_change", "text_low", "text_high", "better", "share", "copied", "copied_real", "seconds"),
    *("size_bytes", "folder"),
)

Floats = npt.NDArray[np.float64]


def compare(base: tuple[Sums, Sums], tuned: tuple[Sums, Sums], seed: int) -> dict[str, Any]:
    """Return the figures of both models on the test part, for a metrics file.

    Args:
        base: sums of each review, as :func:`wine_gpt.modeling.scoring.score_reviews` returns them; of whole reviews,
            and of the running text after the header, in which the value is named.
        tuned: the same of the other model, the reviews in the same order.
        seed: of the bootstrap.
    """
    whole, text = (
        {
            "test": Score.of(after).to_dict(),
            "base_test": Score.of(before).to_dict(),
            "perplexity_change": perplexity_change(before, after, seed),
        }
        for before, after in zip(base, tuned, strict=True)
    )
    enough = len(base[0]) >= FEWEST_REVIEWS
    # a gain beyond doubt, and no loss beyond doubt where a prompt tells the base as much as the header does
    better = enough and whole["perplexity_change"]["high"] < 0 and text["perplexity_change"]["low"] <= 0
    return {**whole, "after_header": text, "better": better}


def perplexity_change(base: Sums, tuned: Sums, seed: int) -> dict[str, float]:
    """Return the relative change of perplexity, −0.05 for 5% lower, with its interval by a paired bootstrap.

    Reviews are drawn with replacement, both models' sums of a review together, and the change is that of the
    perplexity over all words drawn, so a long review weighs more than a short one (percentile interval; Efron &
    Tibshirani 1993, An Introduction to the Bootstrap, chapter 13).
    """
    words, added = base[:, 0], tuned[:, 1] - base[:, 1]
    random = np.random.default_rng(seed)
    draws = (random.integers(0, len(words), len(words)) for _ in range(RESAMPLES))
    changes = [_change(added[drawn], words[drawn]) for drawn in draws]
    low, high = np.quantile(changes, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {"value": _change(added, words), "low": float(low), "high": float(high), "level": LEVEL}


def _change(added: Floats, words: Floats) -> float:
    return float(np.expm1(added.sum() / words.sum()))


def save_table(folder: Path) -> None:
    """Write the table over all values that are finished in the folder, as CSV, Markdown and a plot."""
    rows = read_rows(folder)
    write_atomically(folder / f"{TABLE}.csv", _to_csv(rows))
    write_atomically(folder / f"{TABLE}.md", to_markdown(rows))
    _draw(rows, folder / f"{TABLE}.png")


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """Return a row for each value that is finished in the folder, the one with the most reviews first."""
    rows = [
        _row(json.loads(file.read_text(encoding="utf-8")), file.parent.name) for file in folder.glob("*/metrics.json")
    ]
    return sorted(rows, key=lambda row: (-row["reviews"], row["value"]))


def _row(metrics: dict[str, Any], folder: str) -> dict[str, Any]:
    whole, text = metrics["perplexity_change"], metrics["after_header"]["perplexity_change"]
    return {
        "value": metrics["value"],
        "method": metrics["method"],
        "reviews": sum(metrics["reviews"].values()),
        **metrics["reviews"],
        "base_perplexity": metrics["base_test"]["perplexity"],
        "perplexity": metrics["test"]["perplexity"],
        **{"change": whole["value"], "low": whole["low"], "high": whole["high"]},
        **{"text_change": text["value"], "text_low": text["low"], "text_high": text["high"]},
        "better": metrics["better"],
        "share": metrics["training"]["share"],
        # none where it was not measured
        "copied": metrics["copying"].get("generated"),
        "copied_real": metrics["copying"].get("real"),
        "seconds": metrics["seconds"],
        "size_bytes": metrics["size_bytes"],
        "folder": folder,
    }


def _to_csv(rows: list[dict[str, Any]]) -> str:
    content = io.StringIO()
    writer = csv.DictWriter(content, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return content.getvalue()


def to_markdown(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a Markdown table for people."""
    head = (
        "| value | method | reviews (train, validation, test) | perplexity: base | fine-tuned | change (95% interval) "
        "| after the header | better | longest span shared with training, words: written (real) | seconds | MB |"
    )
    lines = [head, f"|{'---|' * (head.count('|') - 1)}"]
    for row in rows:
        # a value may hold what Markdown takes for a sign of its own
        cells = [
            row["value"].replace("\\", "\\\\").replace("|", "\\|"),
            row["method"],
            f"{row['reviews']:,} ({row['train']:,}, {row['validation']:,}, {row['test']:,})",
            f"{row['base_perplexity']:.1f}",
            f"{row['perplexity']:.1f}",
            f"{row['change']:+.1%} ({row['low']:+.1%} to {row['high']:+.1%})",
            f"{row['text_change']:+.1%} ({row['text_low']:+.1%} to {row['text_high']:+.1%})",
            "yes" if row["better"] else "no: the base is kept",
            "" if row["copied"] is None else f"{row['copied']:.1f} ({row['copied_real']:.1f})",
            f"{row['seconds']:.0f}",
            f"{row['size_bytes'] / 1e6:.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _draw(rows: list[dict[str, Any]], file: Path) -> None:
    """Draw each value's change with its interval, of whole reviews and after the header."""
    change = "change of test perplexity against the base in %, 95% interval; in brackets: test reviews"
    axes = new_axes(change, "", 1.2 + 0.35 * len(rows))
    places = np.arange(len(rows))
    series = (("", WINE, -0.12, "whole reviews"), ("text_", PALE, 0.12, "after the header"))
    for prefix, color, shift, label in series:
        value, low, high = (100 * np.array([row[prefix + name] for row in rows]) for name in ("change", "low", "high"))
        axes.errorbar(value, places + shift, xerr=(value - low, high - value), fmt="o", color=color, label=label)
    axes.axvline(0, color="black", linewidth=0.8)
    # a dollar sign would begin a formula
    names = [f"{row['value']} ({row['test']:,})".replace("$", r"\$") for row in rows]
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    save_axes(axes, file)
