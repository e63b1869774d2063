"""The folder that a run leaves: a model that transformers loads as it is, and the record of how it came about."""

import contextlib
import importlib.metadata
import json
import os
import platform
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from wine_gpt.checkpoint import make_folder, write_atomically
from wine_gpt.drawing import PALE, WINE, new_axes, save_axes
from wine_gpt.errors import UserError
from wine_gpt.model import quiet_transformers
from wine_gpt.tokenizer import save_tokenizer
from wine_gpt.training import TrainingState

CHECKPOINTS = "checkpoints"
# written last: a folder that has it holds a finished run
METRICS = "metrics.json"
# what scripts/score.py says of the run's weights
EVALUATION = "evaluation"
# of a fine-tuning; its base's config.yaml has those of the data
SETTINGS = "finetune.yaml"
RUN_FILES = (
    METRICS,
    SETTINGS,
    "adapter_config.json",
    "adapter_model.safetensors",
    "config.json",
    "config.yaml",
    "data_report.json",
    "generation_config.json",
    "loss.png",
    "model.safetensors",
    "samples.jsonl",
    "tokenizer.json",
    "tokenizer_config.json",
)
PACKAGES = (
    "wine_gpt",
    "torch",
    "transformers",
    "datasets",
    "tokenizers",
    "accelerate",
    "huggingface_hub",
    "safetensors",
)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other runs out of the folder; the lock of a process that was killed holds nobody up.

    Raises:
        UserError: if the folder can't be written, or another process has it.
    """
    require_writable(folder / CHECKPOINTS)
    owner = folder / CHECKPOINTS / ".owner"
    lock = FileLock(folder / CHECKPOINTS / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(f"{folder} is locked by pid {owner.read_text()}, which is writing a run there") from None
    try:
        owner.write_text(str(os.getpid()))
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def require_free(folder: Path) -> None:
    """Check that the folder holds no run.

    Raises:
        UserError: that says how to go on or to start over.
    """
    if (folder / METRICS).exists():
        raise UserError(finished(folder))
    if any((folder / CHECKPOINTS).glob("step-*")):
        raise UserError(f"{folder} holds an unfinished run: --resume to go on, or --overwrite to start over")


def finished(folder: Path) -> str:
    """Return what is said of a folder that holds a finished run."""
    return (
        f"{folder} holds a finished run: name another --output_dir, --overwrite to start over, "
        "or --resume with more --training.epochs to train on"
    )


def remove_run(folder: Path) -> None:
    """Remove what an earlier run wrote, and nothing else that a user may keep there."""
    for name in RUN_FILES:
        (folder / name).unlink(missing_ok=True)
    for saved in (folder / CHECKPOINTS).glob("*step-*"):
        shutil.rmtree(saved, ignore_errors=True)


def unfinish(folder: Path) -> None:
    """Remove the figures, which are not those of the weights to come."""
    (folder / METRICS).unlink(missing_ok=True)
    shutil.rmtree(folder / EVALUATION, ignore_errors=True)


def require_writable(folder: Path) -> None:
    """Make the folder if it is not there and try to write to it.

    Raises:
        UserError: if that fails.
    """
    try:
        make_folder(folder)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"output_dir: can't write to {folder}: {error.strerror}") from error


def save_model(
    folder: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    **settings: Any,  # noqa: ANN401 - those of save_pretrained
) -> None:
    """Save model and tokenizer, each file whole or not at all."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".tmp-model-") as temporary:
        with quiet_transformers():
            model.save_pretrained(temporary, **settings)
        save_tokenizer(tokenizer, temporary)
        # peft leaves a card full of blanks
        (Path(temporary) / "README.md").unlink(missing_ok=True)
        readable = (Path(temporary) / "tokenizer.json").stat().st_mode
        for file in Path(temporary).iterdir():
            # safetensors writes for the owner alone
            file.chmod(readable)
            file.replace(folder / file.name)


def save_samples(folder: Path, state: TrainingState) -> None:
    """Save the reviews sampled after each epoch, one JSON object a line: epoch, step, text."""
    lines = [
        json.dumps({"epoch": epoch["epoch"], "step": epoch["step"], "text": text}, ensure_ascii=False)
        for epoch in state.epochs
        for text in epoch["samples"]
    ]
    write_atomically(folder / "samples.jsonl", "\n".join(lines) + "\n")


def save_loss_curve(folder: Path, state: TrainingState) -> None:
    """Draw training loss (nats per token) and validation loss (nats per word) over the optimizer steps."""
    axes = new_axes("optimizer step", "loss in nats")
    axes.plot(*zip(*state.curve, strict=True), color=PALE, linewidth=1, label="training, per token")
    steps = [epoch["step"] for epoch in state.epochs]
    losses = [epoch["nats_per_word"] for epoch in state.epochs]
    axes.plot(steps, losses, color=WINE, marker="o", label="validation, per word")
    if state.best:
        best = state.best
        axes.annotate(
            f"{best['nats_per_word']:.3f}", (best["step"], best["nats_per_word"]), (0, 8), textcoords="offset points"
        )
    save_axes(axes, folder / "loss.png")


def save_metrics(folder: Path, metrics: dict[str, Any]) -> None:
    """Write the figures, which marks the run as finished."""
    write_atomically(folder / METRICS, json.dumps(metrics, indent=2, ensure_ascii=False) + "\n")


def peak_memory_bytes() -> dict[str, int]:
    """Return the most memory this process has held, resident and, where there is one, on the GPU."""
    # Linux counts in KiB, macOS in bytes
    unit = 1 if sys.platform == "darwin" else 1024
    peaks = {"resident": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
    if torch.cuda.is_available():
        peaks["gpu"] = torch.cuda.max_memory_allocated()
    return peaks


def environment(device: torch.device) -> dict[str, Any]:
    """Return what the run ran on: versions, device, threads."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "python": platform.python_version(),
        "packages": {package: importlib.metadata.version(package) for package in PACKAGES},
        "device": f"{device.type} ({name})",
        "threads": torch.get_num_threads(),
    }
