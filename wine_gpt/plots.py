"""How all pictures look, and that they are drawn without a screen."""

from pathlib import Path
from typing import Any

WINE, PALE = "#722f37", "#b8a1ad"


def new_axes(x: str, y: str, height: float = 4) -> Any:  # noqa: ANN401 - matplotlib is untyped
    """Return empty axes with these labels, 7 inches wide; their ``figure`` is nobody else's."""
    # only here: 25 MB that a training, which draws when it is done, shouldn't hold at its peak
    from matplotlib.figure import Figure

    axes = Figure(figsize=(7, height), layout="constrained").subplots()
    axes.set(xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def save_axes(axes: Any, path: Path) -> None:  # noqa: ANN401 - matplotlib is untyped
    """Add the legend and write the picture."""
    axes.legend(frameon=False)
    axes.figure.savefig(path, dpi=120)
