"""The run folder: the names of its files, its lock, and the checks and cleaning before a new run."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from wine_gpt.config import PretrainConfig
from wine_gpt.config_io import leaf_types, read_yaml
from wine_gpt.errors import UserError
from wine_gpt.files import make_folder, read_json
from wine_gpt.yaml_files import Settings

# written last: a folder that has this file holds a finished run
METRICS = "metrics.json"
# the settings of a pretraining run
CONFIG = "config.yaml"
# the settings of a fine-tuning run; its data settings are in the base run's CONFIG
FINETUNE_CONFIG = "finetune.yaml"
MODEL_CONFIG = "config.json"
GENERATION_CONFIG = "generation_config.json"
WEIGHTS = "model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
# the form of the texts that the model learned; see wine_gpt.data.template
TEMPLATE = "review_template.json"
DATA_REPORT = "data_report.json"
SAMPLES = "samples.jsonl"
LOSS_PLOT = "loss.png"
RUN_FILES = (
    METRICS,
    CONFIG,
    FINETUNE_CONFIG,
    MODEL_CONFIG,
    GENERATION_CONFIG,
    WEIGHTS,
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    TOKENIZER,
    TOKENIZER_CONFIG,
    TEMPLATE,
    DATA_REPORT,
    SAMPLES,
    LOSS_PLOT,
)
# folder of the checkpoints, which also holds the lock
CHECKPOINTS = "checkpoints"
# folder of the results of scoring
EVALUATION = "evaluation"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock the folder against other runs; the operating system frees the lock of a process that was killed.

    Raises:
        UserError: if the folder can't be written, or another process has locked it.
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
        UserError: if it holds one; the message says how to resume or to start over.
    """
    if (folder / METRICS).exists():
        raise UserError(finished_message(folder))
    if any((folder / CHECKPOINTS).glob("step-*")):
        raise UserError(f"{folder} holds an unfinished run: --resume to continue, or --overwrite to start over")


def finished_message(folder: Path) -> str:
    """Return the error message for a folder that holds a finished run."""
    return (
        f"{folder} holds a finished run: name another --output_dir, --overwrite to start over, "
        "or --resume with more --training.epochs to train on"
    )


def remove_run(folder: Path) -> None:
    """Remove the files of an earlier run and its checkpoints, and leave all other files."""
    for name in RUN_FILES:
        (folder / name).unlink(missing_ok=True)
    for saved in (folder / CHECKPOINTS).glob("*step-*"):
        shutil.rmtree(saved, ignore_errors=True)


def mark_unfinished(folder: Path) -> None:
    """Remove metrics and evaluation, because they describe the weights that are about to be replaced."""
    (folder / METRICS).unlink(missing_ok=True)
    shutil.rmtree(folder / EVALUATION, ignore_errors=True)


def require_writable(folder: Path) -> None:
    """Make the folder if it is missing, and test that a file can be written there.

    Raises:
        UserError: if that fails.
    """
    try:
        make_folder(folder)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"output_dir: can't write to {folder}: {error.strerror}") from error


def data_settings(run: str | Path) -> Settings:
    """Return the data settings of a run by dotted key, such as ``data.path``.

    They are in ``config.yaml`` in the run's folder or, for a fine-tuned model, in its base's folder. The result is
    empty if there is no such file, as for a model on the Hub.

    Raises:
        UserError: if the file is not a run's config.
    """
    for folder in (Path(run), base_of(run)):
        if folder is not None and (folder / CONFIG).is_file():
            types = {key: type_ for key, type_ in leaf_types(PretrainConfig) if key.startswith("data.")}
            # only the section data, because another version of wine_gpt may have written the file
            return read_yaml(folder / CONFIG, types, sections=("data",))
    return {}


def is_hub_id(model: str) -> bool:
    """Return whether a model that is no folder may be an id on the Hub.

    A path in an existing folder is a mistyped one, because its id on the Hub could belong to anyone.
    """
    is_path = (
        model.startswith((".", "/", "~")) or model.count("/") > 1 or ("/" in model and Path(model).parent.is_dir())
    )
    return not is_path


def base_of(folder: str | Path) -> Path | None:
    """Return the folder or Hub id of the base that a folder's model was fine-tuned from; none without a base.

    A PEFT adapter names its base in ``adapter_config.json``, a fully fine-tuned model in ``metrics.json``.

    Raises:
        UserError: if one of these files is not a JSON object.
    """
    for name, keys in ((ADAPTER_CONFIG, ["base_model_name_or_path"]), (METRICS, ["base", "path"])):
        file = Path(folder) / name
        if file.is_file():
            value: object = read_json(file)
            for key in keys:
                value = value.get(key) if isinstance(value, dict) else None
            if isinstance(value, str):
                return Path(value)
    return None
