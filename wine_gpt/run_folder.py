"""The folder that a run leaves: the names of its files, its lock, and what an earlier run left there."""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from wine_gpt.config import PretrainConfig
from wine_gpt.config_io import leaf_types, read_yaml
from wine_gpt.errors import UserError, one_line
from wine_gpt.files import make_folder

CHECKPOINTS = "checkpoints"
# written last: a folder that has it holds a finished run
METRICS = "metrics.json"
# the form of the texts that the model learned; see wine_gpt.data.template
TEMPLATE = "review_template.json"
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
    TEMPLATE,
    "samples.jsonl",
    "tokenizer.json",
    "tokenizer_config.json",
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


def data_settings(run: str | Path) -> dict[str, Any]:
    """Return the settings of the data that a run was trained on, as dotted keys and values.

    They are in the ``config.yaml`` of the run's folder, or, if it was fine-tuned, of its base's; without one, as on
    the Hub, there are none.

    Raises:
        UserError: if the file is no config of a run.
    """
    for folder in (Path(run), base_of(run)):
        if folder is not None and (folder / "config.yaml").is_file():
            types = {key: type_ for key, type_ in leaf_types(PretrainConfig) if key.startswith("data.")}
            # the other sections may be those of another version
            return read_yaml(folder / "config.yaml", types, sections=("data",))
    return {}


def base_of(folder: str | Path) -> Path | None:
    """Return what the folder's model was fine-tuned from, a folder or an id on the Hub; none if it wasn't.

    An adapter of PEFT names its base in ``adapter_config.json``, a whole model of ours in ``metrics.json``.

    Raises:
        UserError: if one of those files is no such thing.
    """
    for name, keys in (("adapter_config.json", ["base_model_name_or_path"]), ("metrics.json", ["base", "path"])):
        file = Path(folder) / name
        if file.is_file():
            try:
                value = json.loads(file.read_text(encoding="utf-8"))
            except ValueError as error:
                raise UserError(f"model: {file} is not JSON: {one_line(error)}") from error
            for key in keys:
                value = value.get(key) if isinstance(value, dict) else None
            if isinstance(value, str):
                return Path(value)
    return None
