"""The table of a folder's fine-tuned subsets, as CSV, Markdown and a plot."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wine_gpt.files import JsonObject, read_record, write_atomically
from wine_gpt.finetuning.results import Comparison, ScorePair, SubsetMetrics
from wine_gpt.markdown import escape
from wine_gpt.plots import PALE, WINE, new_axes, save_axes
from wine_gpt.run_folder import METRICS

TABLE = "subsets"
HEADER = (
    "| value | method | reviews (train, validation, test) | perplexity: base | fine-tuned | change (95% interval) "
    "| of what knowing the value can give | after the header | what the value tells the base "
    "| better on the test reviews | longest span in common with training, words: generated (real) | seconds | MB |"
)

Subsets = Mapping[str, SubsetMetrics]


def save_table(folder: Path) -> None:
    """Write the table of all finished subsets in the folder."""
    subsets = read_subsets(folder)
    write_atomically(folder / f"{TABLE}.csv", _to_csv(subsets))
    write_atomically(folder / f"{TABLE}.md", to_markdown(subsets))
    _draw(subsets, folder / f"{TABLE}.png")


def read_subsets(folder: Path) -> dict[str, SubsetMetrics]:
    """Return the metrics of each finished subset in the folder, by subfolder, the largest subset first.

    Subfolders with other runs are left out.

    Raises:
        UserError: if a metrics file is damaged.
    """
    read = {file.parent.name: read_record(file, _subset_metrics) for file in folder.glob(f"*/{METRICS}")}
    found = {name: metrics for name, metrics in read.items() if metrics is not None}
    return dict(sorted(found.items(), key=lambda item: (-sum(item[1].reviews.values()), item[1].value)))


def _subset_metrics(content: JsonObject) -> SubsetMetrics | None:
    # the runs of other tasks have their score at the top level
    return None if "test" in content else SubsetMetrics.from_dict(content)


def to_markdown(subsets: Subsets) -> str:
    """Return the table in Markdown."""
    lines = [HEADER, f"|{'---|' * (HEADER.count('|') - 1)}"]
    for metrics in subsets.values():
        reviews, whole, copying = metrics.reviews, metrics.comparison.whole, metrics.copying
        hidden = metrics.comparison.value_hidden
        cells = [
            escape(metrics.value),
            metrics.method,
            f"{sum(reviews.values()):,} ({reviews['train']:,}, {reviews['validation']:,}, {reviews['test']:,})",
            f"{whole.base.perplexity:,.1f}",
            f"{whole.tuned.perplexity:,.1f}",
            whole.perplexity_change.as_percent(),
            reached(metrics.comparison),
            metrics.comparison.after_header.perplexity_change.as_percent(),
            hidden.perplexity_change.as_percent() if hidden else "",
            metrics.comparison.verdict(),
            f"{copying.generated:.1f} ({copying.real:.1f})" if copying else "",
            f"{metrics.seconds:,.0f}",
            f"{metrics.size_bytes / 1e6:,.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def reached(comparison: Comparison) -> str:
    """Return the change as a fraction of what knowing the subset's value can give; empty if that is not known."""
    if comparison.ceiling is None or comparison.ceiling_reached is None:
        return ""
    return f"{comparison.ceiling_reached:.0%} of {comparison.ceiling:+.1%}"


def _to_csv(subsets: Subsets) -> str:
    rows = [_row(folder, metrics) for folder, metrics in subsets.items()]
    content = io.StringIO()
    writer = csv.DictWriter(content, rows[0] if rows else (), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return content.getvalue()


def _row(folder: str, metrics: SubsetMetrics) -> dict[str, str | float | None]:
    whole, text = metrics.comparison.whole, metrics.comparison.after_header.perplexity_change
    copying, hidden = metrics.copying, metrics.comparison.value_hidden
    return {
        "value": metrics.value,
        "method": metrics.method,
        "reviews": sum(metrics.reviews.values()),
        **metrics.reviews,
        "base_perplexity": whole.base.perplexity,
        "perplexity": whole.tuned.perplexity,
        "change": whole.perplexity_change.value,
        "low": whole.perplexity_change.low,
        "high": whole.perplexity_change.high,
        "ceiling": metrics.comparison.ceiling,
        "ceiling_reached": metrics.comparison.ceiling_reached,
        "text_change": text.value,
        "text_low": text.low,
        "text_high": text.high,
        "hidden_change": hidden.perplexity_change.value if hidden else None,
        "better": metrics.comparison.better,
        "alpha": metrics.alpha,
        "copied": copying.generated if copying else None,
        "copied_real": copying.real if copying else None,
        "seconds": metrics.seconds,
        "size_bytes": metrics.size_bytes,
        "folder": folder,
    }


def _draw(subsets: Subsets, file: Path) -> None:
    """Draw each subset's change of perplexity with its interval, of whole reviews and after the header."""
    label = "change of test perplexity against the base in %, 95% interval; in brackets: test reviews"
    axes = new_axes(label, "", 1.2 + 0.35 * len(subsets))
    rows = np.arange(len(subsets))
    comparisons = [metrics.comparison for metrics in subsets.values()]
    _draw_changes(axes, rows - 0.12, [each.whole for each in comparisons], WINE, "whole reviews")
    _draw_changes(axes, rows + 0.12, [each.after_header for each in comparisons], PALE, "after the header")
    axes.axvline(0, color="black", linewidth=0.8)
    names = [f"{metrics.value} ({metrics.reviews['test']:,})" for metrics in subsets.values()]
    axes.set_yticks(rows, names, parse_math=False)
    axes.invert_yaxis()
    save_axes(axes, file)


def _draw_changes(
    axes: Any,  # noqa: ANN401 - matplotlib is untyped
    rows: npt.NDArray[np.floating[Any]],
    pairs: list[ScorePair],
    color: str,
    label: str,
) -> None:
    changes = [pair.perplexity_change for pair in pairs]
    value, low, high = 100 * np.array([[change.value, change.low, change.high] for change in changes]).T
    axes.errorbar(value, rows, xerr=(value - low, high - value), fmt="o", color=color, label=label)
