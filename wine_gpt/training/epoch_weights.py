"""Keep the weights of every epoch in bfloat16, so that the explorer can show a model from random to trained."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch

from wine_gpt.errors import UserError, one_line
from wine_gpt.files import JsonObject, JsonRecord, make_folder, read_record, sha256, write_atomically, write_json
from wine_gpt.run_folder import EPOCH_INDEX, epoch_weights, remove_epochs


@dataclass(frozen=True)
class KeptEpoch(JsonRecord):
    """The weights of a model after an epoch, before calibration.

    Attributes:
        epoch: counted from 1; 0 for the random weights before the first step.
        step: the number of optimizer steps done.
        training_nats_per_token: mean training loss of the epoch; none for epoch 0.
        validation_nats_per_word: loss on the validation split.
        file: name of the safetensors file in the index's folder.
        sha256: the file's checksum, in hexadecimal.
    """

    epoch: int
    step: int
    training_nats_per_token: float | None
    validation_nats_per_word: float
    file: str
    sha256: str


def read_index(folder: Path) -> list[KeptEpoch]:
    """Return the epochs that an index lists, in order; none if there is no index.

    Args:
        folder: a run's folder of epochs.

    Raises:
        UserError: if the index is damaged.
    """
    index = folder / EPOCH_INDEX
    return read_record(index, _parse_index) if index.exists() else []


def keep(
    folder: Path,
    weights: dict[str, torch.Tensor],
    *,
    epoch: int,
    step: int,
    training_loss: float | None,
    validation_loss: float,
) -> None:
    """Write an epoch's weights as bfloat16, then the index; each file completely or not at all.

    Args:
        folder: a run's folder of epochs, which is created if needed.
        weights: tensors by name, each tied one once.
        epoch: see :class:`KeptEpoch`, as for the other arguments.
        step: the number of optimizer steps done.
        training_loss: in nats per token.
        validation_loss: in nats per word.

    Raises:
        UserError: if a file can't be written, or the index is damaged.
    """
    rounded = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in weights.items()}
    # transformers loads files with this metadata only
    content = safetensors.torch.save(rounded, metadata={"format": "pt"})
    file = folder / epoch_weights(epoch)
    checksum = hashlib.sha256(content).hexdigest()
    kept = KeptEpoch(epoch, step, training_loss, validation_loss, file.name, checksum)
    others = [other for other in read_index(folder) if other.epoch != epoch]
    try:
        make_folder(folder)
        write_atomically(file, content)
        _write_index(folder, sorted([*others, kept], key=lambda other: other.epoch))
    except OSError as error:
        raise UserError(f"training.keep_epochs: can't write {file}: {one_line(error)}") from error


def discard_after(folder: Path, step: int) -> None:
    """Remove the epochs that a training will compute again from ``step`` on, and those whose file is damaged.

    Raises:
        UserError: if the index is damaged.
    """
    kept = [
        epoch
        for epoch in (read_index(folder) if step else [])
        if epoch.step <= step and (folder / epoch.file).is_file() and sha256(folder / epoch.file) == epoch.sha256
    ]
    if kept:
        _write_index(folder, kept)
    remove_epochs(folder, [epoch.file for epoch in kept])


def _write_index(folder: Path, epochs: list[KeptEpoch]) -> None:
    write_json(folder / EPOCH_INDEX, {"epochs": [epoch.to_dict() for epoch in epochs]})


def _parse_index(content: JsonObject) -> list[KeptEpoch]:
    epochs = [KeptEpoch.from_dict(epoch) for epoch in content["epochs"]]
    for epoch in epochs:
        # a file name from an index is never a path
        if epoch.file != epoch_weights(epoch.epoch):
            raise ValueError(f"epoch {epoch.epoch} names {epoch.file}")
    return epochs
