"""Axes in the project's style, drawn without a display."""

import os
import warnings
from pathlib import Path
from typing import Any

WINE, PALE = "#722f37", "#b8a1ad"


def new_axes(x: str, y: str, height: float = 4) -> Any:  # noqa: ANN401 - matplotlib is untyped
    """Return empty axes with these labels, 7 inches wide, in a new figure."""
    figure_class = _import_figure()
    axes = figure_class(figsize=(7, height), layout="constrained").subplots()
    axes.set(xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _import_figure() -> Any:  # noqa: ANN401 - matplotlib is untyped
    """Import matplotlib's Figure, which draws without a backend.

    It is imported late, because training would otherwise hold matplotlib's memory at its peak, and without MPLBACKEND,
    because matplotlib refuses to be imported if that names a backend of another environment, as in a notebook's shell.
    """
    backend = os.environ.pop("MPLBACKEND", None)
    try:
        from matplotlib.figure import Figure
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    return Figure


def save_axes(axes: Any, path: Path) -> None:  # noqa: ANN401 - matplotlib is untyped
    """Add the legend and save the figure."""
    axes.legend(frameon=False)
    with warnings.catch_warnings():
        # a label may have a letter or an emoji that no installed font has; it is drawn as an empty box
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font", UserWarning)
        axes.figure.savefig(path, dpi=120)
