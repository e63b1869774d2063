"""Atomic checkpoints: written to a temporary folder, synced, renamed, and verified by SHA-256 on load.

A checkpoint is a folder ``step-00000500`` with the tensors as safetensors, the trainer's state as JSON and
``manifest.json``, which holds the SHA-256 of each file and is written last. Nothing is pickled.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from wine_gpt import files
from wine_gpt.errors import UserError
from wine_gpt.files import JsonObject
from wine_gpt.run_folder import checkpoint_name, checkpoints

MANIFEST = "manifest.json"
STATE = "state.json"

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint.

    Attributes:
        step: the number of optimizer steps done.
        tensors: named tensors by group: weights, optimizer, best.
        state: all other state as a JSON object: ``training`` (losses, epochs, step), ``resume_key``, ``runtime`` and
            ``scaler`` (of fp16); :mod:`wine_gpt.training.resume` makes it.
    """

    step: int
    tensors: Mapping[str, Tensors]
    state: JsonObject


def save(folder: Path, checkpoint: Checkpoint, keep: int) -> Path:
    """Write a checkpoint into ``folder`` completely or not at all, then keep only the newest ``keep`` checkpoints.

    Checkpoints of later steps are removed: the run was resumed from an earlier one, and no longer leads to them.

    Raises:
        UserError: if the disk is full or the folder can't be written; older checkpoints are then kept.
    """
    name = checkpoint_name(checkpoint.step)
    temporary, final = folder / f".tmp-{name}", folder / name
    try:
        files.make_folder(folder)
        _remove_leftovers(folder)
        temporary.mkdir()
        _write(temporary, checkpoint)
        # damaged, or later than the checkpoint that this run resumed from
        if final.exists():
            _discard(final)
        temporary.rename(final)
        files.sync(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise UserError(_describe_failure(error, folder, checkpoint)) from error
    found = checkpoints(folder)
    saved = found.index(final)
    with files.writing(folder):
        for other in found[:saved] + found[saved + keep :]:
            _discard(other)
        _remove_leftovers(folder)
    return final


def load(path: Path) -> Checkpoint:
    """Load one checkpoint and verify every file against the manifest.

    Raises:
        UserError: if a file is missing, damaged or can't be read; the message names the file, and both checksums.
    """
    manifest = _read_json(path / MANIFEST)
    claimed = manifest.pop("manifest_sha256", None)
    if claimed != _manifest_sha256(manifest):
        found = _manifest_sha256(manifest)
        raise UserError(f"checkpoint {path}: {MANIFEST} is damaged: sha256 {found}, it says {claimed} itself")
    for name, expected in manifest["sha256"].items():
        file = path / name
        if not file.is_file():
            raise UserError(f"checkpoint {path}: {name} is missing")
        try:
            found = files.sha256(file)
        except OSError as error:
            raise UserError(f"checkpoint {path}: can't read {name}: {error.strerror}") from error
        if found != expected:
            raise UserError(f"checkpoint {path}: {name} is damaged: sha256 {found}, manifest says {expected}")
    return Checkpoint(
        step=manifest["step"],
        tensors={Path(name).stem: load_file(path / name) for name in manifest["sha256"] if name != STATE},
        state=_read_json(path / STATE),
    )


def load_newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """Load the newest good checkpoint.

    Returns:
        The checkpoint, none if the folder has no checkpoint; and the reasons why newer checkpoints were skipped.

    Raises:
        UserError: if there are checkpoints but none is good, so that a run never silently starts over.
    """
    problems: list[str] = []
    for path in checkpoints(folder):
        try:
            return load(path), problems
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError(f"no good checkpoint in {folder}: {'; '.join(problems)}; to start over, say --overwrite")
    return None, problems


def _write(temporary: Path, checkpoint: Checkpoint) -> None:
    for group, tensors in checkpoint.tensors.items():
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary / f"{group}.safetensors")
    (temporary / STATE).write_text(json.dumps(checkpoint.state), encoding="utf-8")
    written = sorted(temporary.iterdir())
    checksums = {file.name: files.sha256(file) for file in written}
    manifest = {"step": checkpoint.step, "sha256": checksums}
    signed = {**manifest, "manifest_sha256": _manifest_sha256(manifest)}
    (temporary / MANIFEST).write_text(json.dumps(signed, indent=2), encoding="utf-8")
    # sync before the rename, because a power loss could otherwise leave the name without its content
    for file in [*written, temporary / MANIFEST, temporary]:
        files.sync(file)


def _manifest_sha256(manifest: JsonObject) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _discard(path: Path) -> None:
    """Mark a checkpoint for removal by renaming it, so that it does not look complete while it is removed."""
    path.rename(path.with_name(f".tmp-old-{path.name}"))


def _remove_leftovers(folder: Path) -> None:
    """Remove discarded checkpoints and the incomplete ones of killed processes."""
    for leftover in folder.glob(".tmp-*step-*"):
        shutil.rmtree(leftover)


def _read_json(path: Path) -> JsonObject:
    try:
        return files.read_json(path)
    except UserError as error:
        raise UserError(f"checkpoint {path.parent}: {error}") from error


def _describe_failure(error: Exception, folder: Path, checkpoint: Checkpoint) -> str:
    needed = sum(tensor.nbytes for tensors in checkpoint.tensors.values() for tensor in tensors.values())
    free = shutil.disk_usage(folder).free if folder.exists() else 0
    kept = checkpoints(folder)
    last = f"last good checkpoint: {kept[0]}" if kept else "no checkpoint yet"
    return f"can't save step {checkpoint.step} in {folder}: {error}; {needed:,} bytes needed, {free:,} free; {last}"
