"""Save the state of training in checkpoints, and resume from one if the settings that decide the result are equal."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn

from wine_gpt.config import DistillConfig, FinetuneConfig
from wine_gpt.config_io import PATHS, to_flat
from wine_gpt.errors import UserError
from wine_gpt.files import JsonObject
from wine_gpt.modeling.scoring import ValidationScore
from wine_gpt.processes import on_main_process
from wine_gpt.run_folder import LATEST, checkpoint_name
from wine_gpt.training import checkpoint
from wine_gpt.training.checkpoint import Checkpoint, Tensors
from wine_gpt.training.record import TrainingState

# last parts of the keys of settings that may differ on resume, because they don't change what a step computes
IGNORED_ON_RESUME = (
    "trackers",
    "keep_checkpoints",
    "keep_epochs",
    "checkpoint_steps",
    # changes the rounding, and on a GPU the dropout masks; contrastive runs add it to their own resume key
    "micro_batches",
)
# the one setting that may grow on resume: finished steps stay valid, but the learning rate falls later
EXTENDABLE_SETTING = "training.epochs"
# part of the resume key: increase this when a change to the code changes what a step computes
STEP_VERSION = 2
# what the error says instead of two values that a user can't compare
EXPLANATIONS = {
    "data": "not the same reviews in the same splits",
    "tokenizer": "not the same words and ids",
    "base": "not the same base weights",
    "targets": "not the same members or synthetic reviews",
    "step_version": (
        "this version of wine_gpt computes a step differently: resume with the version that began it, or --overwrite"
    ),
}


@dataclass
class TrainingCheckpoints:
    """Saves and restores a training: weights, best weights, optimizer, gradient scaler and the loop's state.

    Attributes:
        folder: the folder of the checkpoints.
        keep: the number of checkpoints to keep.
        resume_key: values that must be equal to resume from a checkpoint; saved in each checkpoint.
        runtime: values that may differ on resume, which may change the result's last bits; saved in each checkpoint.
        model: the model, whose parameters with ``requires_grad`` are saved.
        optimizer: the model's optimizer.
        accelerator: its main process writes the checkpoints, which include its gradient scaler.
        best_weights: a copy of the weights after the best epoch so far; empty before an epoch has ended.
        saved_step: the step of the newest checkpoint of this training; 0 if there is none.
    """

    folder: Path
    keep: int
    resume_key: JsonObject
    runtime: JsonObject
    model: nn.Module
    optimizer: torch.optim.Optimizer
    accelerator: Accelerator
    best_weights: Tensors = field(default_factory=dict)
    saved_step: int = 0

    @property
    def weights(self) -> Tensors:
        """The trained parameters by name, not copied."""
        return trained_weights(self.model)

    def tensors(self) -> Mapping[str, Tensors]:
        """Return ``weights``, ``optimizer`` and, after an epoch, ``best``, not copied."""
        tensors = {"weights": self.weights, "optimizer": _optimizer_tensors(self.optimizer)}
        return {**tensors, "best": self.best_weights} if self.best_weights else tensors

    def keep_best_weights(self) -> None:
        """Copy the current weights as the best ones so far."""
        self.best_weights = {name: tensor.detach().clone() for name, tensor in self.weights.items()}

    def load_weights(self, weights: Tensors) -> None:
        """Put values of the trained parameters into the model."""
        for name, tensor in self.weights.items():
            tensor.copy_(weights[name])

    def save(self, state: TrainingState) -> None:
        """Write a checkpoint on the main process.

        Raises:
            UserError: on all processes, if the checkpoint can't be written.
        """

        def write() -> None:
            scaler = self.accelerator.scaler
            content = {
                "resume_key": _with_step_version(self.resume_key),
                "runtime": self.runtime,
                "training": state.to_dict(),
                "scaler": scaler.state_dict() if scaler is not None else None,
            }
            checkpoint.save(self.folder, Checkpoint(state.step, self.tensors(), content), self.keep)

        on_main_process(write)
        self.saved_step = state.step

    def restore(
        self, found: Checkpoint, read_score: Callable[[JsonObject], ValidationScore]
    ) -> tuple[TrainingState, str]:
        """Load a checkpoint into model, optimizer and scaler.

        Args:
            found: the checkpoint.
            read_score: reads the validation score of an epoch.

        Returns:
            The loop's state, and a description of the differences in the runtime, empty if there are none.

        Raises:
            UserError: if a setting differs, except for more epochs. The message names each; nothing is changed.
        """
        require_resumable(found, self.resume_key)
        self.saved_step = found.step
        self.best_weights = found.tensors.get("best", {})
        self.load_weights(found.tensors["weights"])
        _load_optimizer(self.optimizer, found.tensors["optimizer"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(found.state["scaler"])
        state = TrainingState.from_dict(found.state["training"], read_score)
        return state, describe_mismatch(found.state["runtime"], self.runtime)


def find_checkpoint(folder: Path, requested: str) -> tuple[Checkpoint | None, list[str]]:
    """Load the newest good checkpoint of a folder, or a given checkpoint.

    Args:
        folder: the folder of the checkpoints.
        requested: ``latest``, or the path of a checkpoint.

    Returns:
        The checkpoint, none if the folder has none yet; and the reasons why newer checkpoints were skipped.

    Raises:
        UserError: if no checkpoint is good although there are some, or the given one is missing or damaged.
    """
    if requested == LATEST:
        return checkpoint.load_newest(folder)
    if not os.path.isdir(requested):
        raise UserError(
            f"checkpoint {requested}: no such folder: --resume alone takes the newest checkpoint, "
            f"--resume {folder / checkpoint_name(500)} another"
        )
    return checkpoint.load(Path(requested)), []


def require_resumable(found: Checkpoint, resume_key: JsonObject) -> None:
    """Check that a training with some resume key can continue from a checkpoint.

    Raises:
        UserError: if a value differs, except for more epochs. The message names each.
    """
    require_same_settings(found.step, found.state["resume_key"], _with_step_version(resume_key))


def require_same_settings(step: int, then: JsonObject, now: JsonObject, source: str = "checkpoint") -> None:
    """Check that settings, or a resume key, are those of an earlier training, except for more epochs.

    Args:
        step: the last step of the earlier training.
        then: its settings, read from ``source``.
        now: the settings of this training.
        source: see :func:`describe_mismatch`.

    Raises:
        UserError: that names each difference.
    """
    if then.get(EXTENDABLE_SETTING, 0) < now.get(EXTENDABLE_SETTING, 0):
        then = {**then, EXTENDABLE_SETTING: now[EXTENDABLE_SETTING]}
    if mismatch := describe_mismatch(then, now, source):
        raise UserError(f"can't resume from step {step}: {mismatch}")


def settings_fixed_on_resume(config: object, mixed_precision: str) -> JsonObject:
    """Return the settings that decide what a run computes, by dotted key.

    Args:
        config: a root config.
        mixed_precision: the precision, which is not ``auto``.
    """
    settings = {
        key: value
        for key, value in to_flat(config).items()
        if "." in key
        and not key.startswith("generation.")
        # the content of the data and of the tokenizer is compared instead
        and key not in PATHS
        and key.rpartition(".")[2] not in IGNORED_ON_RESUME
    }
    return {**settings, "training.mixed_precision": mixed_precision}


def describe_mismatch(then: JsonObject, now: JsonObject, source: str = "checkpoint") -> str:
    """List each key whose value in ``then``, read from ``source``, differs from that in ``now``; empty without any.

    A setting that ``then`` lacks had its default, because the setting is newer. If both have the same ``data``, the
    settings of how the reviews are read do not matter.
    """
    if "data" in now and then.get("data") == now["data"]:
        then, now = _without_data_settings(then), _without_data_settings(now)
    defaults = {**to_flat(FinetuneConfig(value="all")), **to_flat(DistillConfig())}
    then = {**{key: defaults[key] for key in now.keys() & defaults.keys()}, **then}
    return "; ".join(
        f"{key}: {EXPLANATIONS.get(key) or f'{source} {then.get(key)}, now {now.get(key)}'}"
        for key in sorted(then.keys() | now.keys())
        if then.get(key) != now.get(key)
    )


def trained_weights(model: nn.Module) -> Tensors:
    """Return the trained parameters by name, not copied and each tied one once."""
    return {name: parameter.data for name, parameter in model.named_parameters() if parameter.requires_grad}


def _without_data_settings(settings: JsonObject) -> JsonObject:
    return {key: value for key, value in settings.items() if not key.startswith("data.")}


def _with_step_version(resume_key: JsonObject) -> JsonObject:
    return {**resume_key, "step_version": STEP_VERSION}


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> Tensors:
    """Return the optimizer's state by ``index.key``, such as ``0.exp_avg``, because safetensors holds flat names."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{key}": value for index, values in state.items() for key, value in values.items()}


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: Tensors) -> None:
    state: dict[int, Tensors] = {}
    for name, tensor in tensors.items():
        index, key = name.split(".")
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
