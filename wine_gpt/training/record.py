"""What a run leaves beside its model: samples, loss curve, figures, and what it ran on."""

import importlib.metadata
import json
import platform
import resource
import sys
from pathlib import Path
from typing import Any

import torch

from wine_gpt.files import write_atomically
from wine_gpt.plots import PALE, WINE, new_axes, save_axes
from wine_gpt.run_folder import METRICS
from wine_gpt.training.trainer import TrainingState

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
