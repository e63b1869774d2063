"""The files of the explorer, a static page that runs a GPT-2 in the visitor's browser."""

from pathlib import Path

from wine_gpt.errors import UserError
from wine_gpt.installation import bundled
from wine_gpt.model_path import describe_missing
from wine_gpt.publishing.explorer_files import CONTENT_TYPES, MODEL_FILES
from wine_gpt.publishing.published_files import files_below
from wine_gpt.run_folder import (
    ADAPTER_CONFIG,
    EPOCH_INDEX,
    EPOCHS,
    METRICS,
    MODEL_CONFIG,
    WEIGHTS,
    has_checkpoint,
)
from wine_gpt.training.epoch_weights import read_index

EXPLORER = bundled("space") / "explorer"


def page_files() -> dict[str, Path]:
    """Return the page's files by their path in it, without hidden files and documentation.

    Raises:
        UserError: if the explorer is not installed.
    """
    if not (EXPLORER / "index.html").is_file():
        raise UserError(f"no explorer at {EXPLORER}: install wine_gpt again")
    return files_below(EXPLORER, CONTENT_TYPES)


def run_files(run: Path) -> dict[str, Path]:
    """Return the files of a model's folder that the explorer reads, by their path in it.

    Raises:
        UserError: if the folder has no finished model, or its index of epochs is damaged.
    """
    _require_model(run)
    return {name: run / name for name in (*MODEL_FILES, *epoch_files(run)) if (run / name).is_file()}


def epoch_files(run: Path) -> list[str]:
    """Return the index of a run's epochs and the files that it lists, by their path in the run; empty without epochs.

    Raises:
        UserError: if the index is damaged.
    """
    epochs = read_index(run / EPOCHS)
    return [f"{EPOCHS}/{name}" for name in (EPOCH_INDEX, *(epoch.file for epoch in epochs))] if epochs else []


def _require_model(run: Path) -> None:
    if not run.is_dir():
        raise UserError(describe_missing(str(run), "name the folder of a finished run, such as runs/sample"))
    if (run / ADAPTER_CONFIG).is_file():
        raise UserError(f"{run} holds an adapter, and the explorer runs whole models: name its base")
    if not (run / METRICS).is_file() and has_checkpoint(run):
        raise UserError(f"{run} holds an unfinished run: finish it with --resume first")
    for name in (MODEL_CONFIG, WEIGHTS):
        if not (run / name).is_file():
            raise UserError(f"{run} holds no model: {name} is missing")
