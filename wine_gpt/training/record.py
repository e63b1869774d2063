"""Typed results of a training run, and the files of the run folder that hold them."""

import importlib.metadata
import json
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import torch

from wine_gpt.config import EnsembleConfig
from wine_gpt.files import JsonObject, JsonRecord, read_record, write_atomically, write_json
from wine_gpt.modeling.scoring import Score, ValidationScore
from wine_gpt.plots import PALE, WINE, new_axes, save_axes
from wine_gpt.run_folder import LOSS_PLOT, METRICS, SAMPLES
from wine_gpt.training.hardware import device_name
from wine_gpt.version import __version__

PACKAGES = (
    "torch",
    "transformers",
    "datasets",
    "tokenizers",
    "accelerate",
    "huggingface_hub",
    "safetensors",
)


@dataclass(frozen=True)
class EpochResult:
    """The validation after one epoch.

    Attributes:
        epoch: counted from 1.
        step: the number of optimizer steps done.
        score: the score on the validation split.
        samples: generated reviews.
    """

    epoch: int
    step: int
    score: ValidationScore
    samples: list[str]

    @classmethod
    def from_dict(cls, content: JsonObject, read_score: Callable[[JsonObject], ValidationScore]) -> Self:
        """Read what :meth:`to_dict` returned."""
        return cls(content["epoch"], content["step"], read_score(content), content["samples"])

    def to_dict(self) -> JsonObject:
        """Return a JSON object that includes the score's keys."""
        return {"epoch": self.epoch, "step": self.step, **self.score.to_dict(), "samples": self.samples}


@dataclass
class TrainingState:
    """The state of the training loop that is not in tensors, saved in each checkpoint.

    Attributes:
        step: the number of optimizer steps done.
        curve: points of the loss curve: a step, and the mean training loss since the point before, in nats per
            unit of the objective.
        epochs: one result per finished epoch.
        nats: training loss summed since the curve's last point.
        units: the number of units that ``nats`` is the sum over: tokens of a language model, otherwise reviews.
        total_tokens: the number of tokens trained on in all steps.
        seconds: time of all steps, without validation and checkpoints.
        energy_kwh: energy used up to the last checkpoint; none if some of it was not measured.
        tracker_run: the id of the training's run in trackers; empty without trackers.
    """

    step: int = 0
    curve: list[tuple[int, float]] = field(default_factory=list)
    epochs: list[EpochResult] = field(default_factory=list)
    nats: float = 0.0
    units: int = 0
    total_tokens: int = 0
    seconds: float = 0.0
    energy_kwh: float | None = 0.0
    tracker_run: str = ""

    @property
    def tokens_per_second(self) -> float:
        """The mean number of tokens trained on per second; 0 before the first step."""
        return self.total_tokens / self.seconds if self.seconds else 0.0

    @property
    def best(self) -> EpochResult | None:
        """The epoch with the lowest validation loss so far; the last one without validation reviews."""
        validated = [epoch for epoch in self.epochs if epoch.score.reviews]
        return min(validated or self.epochs[-1:], key=lambda epoch: epoch.score.loss, default=None)

    def add_loss(self, nats: float, units: int, tokens: int) -> None:
        """Add the summed loss of one step's batch, its units and its tokens."""
        self.nats += nats
        self.units += units
        self.total_tokens += tokens

    def add_curve_point(self) -> float:
        """Add the mean loss since the last point to the curve; return it, in nats per unit."""
        loss = self.nats / self.units
        self.curve.append((self.step, loss))
        self.nats, self.units = 0.0, 0
        return loss

    def last_epoch_loss(self) -> float | None:
        """Return the mean of the curve's points in the last finished epoch, in nats per unit; none without any."""
        first, last = [0, *(epoch.step for epoch in self.epochs)][-2:] if self.epochs else (0, 0)
        losses = [loss for step, loss in self.curve if first < step <= last]
        return sum(losses) / len(losses) if losses else None

    def add_energy(self, kwh: float | None) -> None:
        """Add the energy since the last checkpoint; if it is none, the sum becomes none."""
        self.energy_kwh = None if self.energy_kwh is None or kwh is None else self.energy_kwh + kwh

    @classmethod
    def from_dict(
        cls, content: JsonObject, read_score: Callable[[JsonObject], ValidationScore] = Score.from_dict
    ) -> Self:
        """Read what :meth:`to_dict` returned."""
        curve = [(step, loss) for step, loss in content["curve"]]
        epochs = [EpochResult.from_dict(epoch, read_score) for epoch in content["epochs"]]
        return cls(**{**content, "curve": curve, "epochs": epochs})

    def to_dict(self) -> JsonObject:
        """Return a JSON object for a checkpoint."""
        return {**vars(self), "epochs": [epoch.to_dict() for epoch in self.epochs]}


@dataclass(frozen=True)
class EpochLoss(JsonRecord):
    """The validation loss after one epoch, per word, or per review for a model that predicts no words."""

    epoch: int
    step: int
    nats_per_word: float | None = None
    nats_per_review: float | None = None


@dataclass(frozen=True)
class TrainingSummary(JsonRecord):
    """The summary of a training: the section ``training`` of a metrics file.

    Attributes:
        steps: the number of optimizer steps.
        epochs: validation loss after each epoch.
        best_epoch: the epoch whose weights were kept.
        tokens: the number of tokens trained on in all steps.
        seconds: time of all steps, without validation and checkpoints.
        tokens_per_second: none if no step was done.
        energy_kwh: none if some of the run was not measured.
        padding_fraction: fraction of the batches' positions that are padding, 0 to 1.
        reviews_cut: the number of training reviews with more positions than the model has.
        words_cut: the fraction of the training tokens that those reviews lose, 0 to 1.
        processes: the number of processes that trained.
        mixed_precision: Accelerate's name of the precision, such as bf16.
        logit_scale: the factor that calibration multiplied the logits by; none without calibration.
    """

    steps: int
    epochs: list[EpochLoss]
    best_epoch: int | None
    tokens: int
    seconds: float
    tokens_per_second: int | None
    padding_fraction: float
    reviews_cut: int
    words_cut: float
    processes: int
    mixed_precision: str
    energy_kwh: float | None = None
    logit_scale: float | None = None


@dataclass(frozen=True)
class Environment(JsonRecord):
    """The software and hardware of a run: versions, device and threads."""

    python: str
    packages: dict[str, str]
    device: str
    threads: int

    @classmethod
    def of(cls, device: torch.device) -> Self:
        """Describe this process and the given device."""
        name = device_name(device) if device.type == "cuda" else platform.machine()
        return cls(
            python=platform.python_version(),
            # a checkout that is not installed has no metadata
            packages={"wine_gpt": __version__} | {name: importlib.metadata.version(name) for name in PACKAGES},
            device=f"{device.type} ({name})",
            threads=torch.get_num_threads(),
        )


@dataclass(frozen=True)
class PeakMemory(JsonRecord):
    """The peak memory of a process, in bytes; none if it is not known."""

    resident: int | None = None
    gpu: int | None = None

    @classmethod
    def of_this_process(cls) -> Self:
        """Read the peak of the resident set and, with CUDA, of the tensors on the GPU."""
        gpu = torch.cuda.max_memory_allocated() if torch.cuda.is_initialized() else None
        return cls(_peak_resident_bytes(), gpu)


@dataclass(frozen=True)
class MemberLoss(JsonRecord):
    """The loss of a member of an ensemble, or of the whole ensemble, in nats per word; None for an empty split."""

    name: str
    validation: float | None
    test: float | None

    @classmethod
    def of(cls, name: str, metrics: "RunMetrics") -> Self:
        """Take the losses of a member's run."""
        validation, test = (
            None if score is None else score.nats_per_word for score in (metrics.validation, metrics.test)
        )
        return cls(name, validation, test)


@dataclass(frozen=True)
class Distillation(JsonRecord):
    """The ensemble that a model was distilled from.

    Attributes:
        members: the loss of each member; its name is that of its folder.
        ensemble: the loss of the members' mean probabilities, which the model approximates.
        synthetic_reviews: the number of reviews that the members wrote for training.
        settings: the settings of the distillation.
    """

    members: list[MemberLoss]
    ensemble: MemberLoss
    synthetic_reviews: int
    settings: EnsembleConfig


def teacher_settings(settings: EnsembleConfig) -> JsonObject:
    """Return what :attr:`RunMetrics.settings` has of a distilled run beside the settings of pretraining."""
    # "teacher" distinguishes a run without a teacher, whose missing settings of distillation are read as the defaults
    named = {f"distillation.{name}": value for name, value in vars(settings).items()}
    return {"teacher": "ensemble", **named}


@dataclass(frozen=True)
class Refit(JsonRecord):
    """What a model that was trained on all reviews, none held out, is a refit of.

    Attributes:
        run: the folder's name of the tested run, whose scores the metrics file has.
        weights_sha256: of the tested run's weights.
        epochs: passes over the reviews: as many as gave the tested run's lowest validation loss.
        reviews: the number of reviews trained on.
    """

    run: str
    weights_sha256: str
    epochs: int
    reviews: int


@dataclass(frozen=True, kw_only=True)
class RunMetrics(JsonRecord):
    """The metrics file of a pretraining run.

    Attributes:
        validation: score of the saved model on the validation split; none if the split is empty.
        test: score of the saved model on the test split; none if the split is empty.
        data_fingerprint: see :class:`wine_gpt.data.Reviews`.
        training: see :class:`TrainingSummary`.
        parameters: the number of the model's parameters.
        peak_memory_bytes: see :class:`PeakMemory`.
        environment: see :class:`Environment`.
        vocabulary_sha256: see :func:`wine_gpt.tokenizer.files.vocabulary_sha256`.
        distillation: see :class:`Distillation`; none for a model that was trained on the reviews alone.
        refit: see :class:`Refit`; then the scores are the tested run's. None for a run that held reviews out.
        settings: the settings that decide the weights, and hashes of data and tokenizer: a resumed run with equal ones
            is finished already. None in a published file.
    """

    validation: Score | None = None
    test: Score | None = None
    data_fingerprint: str
    training: TrainingSummary
    parameters: int
    peak_memory_bytes: PeakMemory
    environment: Environment
    vocabulary_sha256: str | None = None
    settings: JsonObject | None = None
    distillation: Distillation | None = None
    refit: Refit | None = None

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a run folder's metrics file.

        Raises:
            UserError: if it is missing, damaged or lacks a figure.
        """
        return read_record(folder / METRICS, cls.from_dict)

    def save(self, folder: Path) -> None:
        """Write the metrics file, which marks the run as finished."""
        write_json(folder / METRICS, self.to_dict())


def save_samples(folder: Path, state: TrainingState) -> None:
    """Save the reviews sampled after each epoch, one JSON object per line."""
    lines = [
        json.dumps({"epoch": epoch.epoch, "step": epoch.step, "text": text}, ensure_ascii=False)
        for epoch in state.epochs
        for text in epoch.samples
    ]
    write_atomically(folder / SAMPLES, "\n".join(lines) + "\n")


def save_loss_curve(folder: Path, state: TrainingState) -> None:
    """Draw a language model's training and validation loss, both in nats per token, over the optimizer steps."""
    axes = new_axes("optimizer step", "loss in nats")
    axes.plot(*zip(*state.curve, strict=True), color=PALE, linewidth=1, label="training, per token")
    scores = {epoch.step: epoch.score for epoch in state.epochs if isinstance(epoch.score, Score)}
    validated = {step: score for step, score in scores.items() if score.reviews}
    if validated and state.best:
        losses = [score.nats_per_token for score in validated.values()]
        best = validated[state.best.step]
        label = f"validation, per {best.unit.removesuffix('s')}"
        axes.plot(list(validated), losses, color=WINE, marker="o", label=label)
        text = f"{best.nats_per_token:.3f}"
        axes.annotate(text, (state.best.step, best.nats_per_token), (0, 8), textcoords="offset points")
    save_axes(axes, folder / LOSS_PLOT)


def _peak_resident_bytes() -> int | None:
    try:
        import resource
    except ImportError:
        # Windows lacks this POSIX module
        return None
    # ru_maxrss is in KiB on Linux and in bytes on macOS
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
