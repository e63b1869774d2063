"""The run folder: the names of its files, its lock, and the checks and cleaning before a new run."""

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from wine_gpt.errors import UserError
from wine_gpt.files import make_folder, writing

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
# the file by which sentence-transformers knows its models
SENTENCE_MODULES = "modules.json"
# what else sentence-transformers writes of a model for embeddings: files, and a folder for each module
SENTENCE_FILES = (SENTENCE_MODULES, "config_sentence_transformers.json", "sentence_bert_config.json")
SENTENCE_FOLDERS = ("1_Pooling", "2_Normalize")
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
    *SENTENCE_FILES,
)
# the folder that the configs of the package write to
RUNS = "runs"
# folder of the checkpoints, which also holds the lock
CHECKPOINTS = "checkpoints"
# the value of the setting resume for the newest checkpoint of the run folder; others are paths
LATEST = "latest"
# folder of the weights of each epoch, which EPOCH_INDEX lists
EPOCHS = "epochs"
EPOCH_INDEX = "index.json"
EPOCH_WEIGHTS = "epoch-*.safetensors"
# folders of a distillation: the runs of the ensemble's members, and their predictions
MEMBERS = "members"
TARGETS = "targets"
# folder of the embeddings of the training reviews, a model of sentence-transformers
SIMILARITY = "similarity"
# folder of the results of scoring
EVALUATION = "evaluation"
# the plot of the loss by the values of the last prompt field, in EVALUATION
LOSS_BY_FIELD_PLOT = "loss_by_field.png"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock the folder against other runs; the operating system frees the lock of a process that was killed.

    A folder that is made for the lock is removed at the end if nothing was written to it.

    Raises:
        UserError: if the folder can't be written or locked, or another process has locked it.
    """
    missing = [path for path in (folder / CHECKPOINTS, folder, *folder.parents) if not os.path.exists(path)]
    require_writable(folder / CHECKPOINTS)
    owner = folder / CHECKPOINTS / ".owner"
    lock = FileLock(folder / CHECKPOINTS / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        # the other process may not have written it yet
        pid = owner.read_text() if owner.exists() else "of another process"
        raise UserError(f"{folder} is locked by pid {pid}, which is writing a run there") from None
    except OSError as error:
        # such as ENOLCK of a network disk without a lock server
        _remove_empty(missing)
        raise UserError(
            f"output_dir: can't lock {folder / CHECKPOINTS}: {error.strerror}: name a folder on another disk"
        ) from error
    try:
        with writing(folder):
            owner.write_text(str(os.getpid()))
        yield
    finally:
        owner.unlink(missing_ok=True)
        _remove_empty(missing)
        lock.release()


def _remove_empty(folders: list[Path]) -> None:
    """Remove folders, innermost first, up to the first one that holds a file; the lock does not count."""
    # Windows removes no file that is locked
    with contextlib.suppress(OSError):
        if folders and [path.name for path in folders[0].iterdir()] == [".lock"]:
            (folders[0] / ".lock").unlink()
        for folder in folders:
            folder.rmdir()


def require_free(folder: Path, *, extendable: bool = True) -> None:
    """Check that the folder holds no run.

    Args:
        folder: the run folder.
        extendable: whether a finished run can be trained for more epochs, for the message.

    Raises:
        UserError: if it holds one; the message says how to resume or to start over.
    """
    if (folder / METRICS).exists():
        ways = ["name another --output_dir", "--overwrite to start over"]
        ways += ["--resume with more --training.epochs to train on"] if extendable else []
        raise UserError(f"{folder} holds a finished run: {', '.join(ways[:-1])}, or {ways[-1]}")
    if has_checkpoint(folder):
        raise UserError(
            f"{folder} holds an unfinished run: --resume to continue, name another --output_dir, or --overwrite to "
            "start over"
        )


def resumes_another(folder: Path, resume: str | None) -> bool:
    """Return whether a run resumes from a checkpoint of another run.

    Args:
        folder: the run folder.
        resume: the setting; the path of a checkpoint that does not exist is of no run.
    """
    if resume is None or resume == LATEST or not os.path.isdir(resume):
        return False
    return Path(resume).resolve().parent != (folder / CHECKPOINTS).resolve()


def checkpoint_name(step: int) -> str:
    """Return the folder name of the checkpoint after a step."""
    return f"step-{step:08d}"


def checkpoints(folder: Path) -> list[Path]:
    """Return the complete checkpoints in a folder of checkpoints, newest first."""
    found = [path for path in folder.glob("step-*") if re.fullmatch(r"step-\d+", path.name)]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")), reverse=True)


def has_checkpoint(folder: Path) -> bool:
    """Return whether a run folder has a complete checkpoint."""
    return bool(checkpoints(folder / CHECKPOINTS))


def require_apart(folder: Path, source: Path, description: str) -> None:
    """Check that a run is not written over the folder that it reads.

    Args:
        folder: the run folder.
        source: the folder that the run reads.
        description: what the source is, for the message.

    Raises:
        UserError: if both are the same folder.
    """
    if folder.resolve() == source.resolve():
        raise UserError(f"output_dir: {folder} is {description} itself: name another folder")


def remove_run(folder: Path) -> None:
    """Remove the files of an earlier run, its checkpoints and its epochs, and leave all other files."""
    for name in RUN_FILES:
        (folder / name).unlink(missing_ok=True)
    for name in SENTENCE_FOLDERS:
        shutil.rmtree(folder / name, ignore_errors=True)
    remove_epochs(folder / EPOCHS)
    for saved in (folder / CHECKPOINTS).glob("*step-*"):
        shutil.rmtree(saved, ignore_errors=True)


def epoch_weights(epoch: int) -> str:
    """Return the file name of an epoch's weights; epoch 0 has the random ones."""
    return EPOCH_WEIGHTS.replace("*", f"{epoch:03d}")


def remove_epochs(folder: Path, keep: Collection[str] = ()) -> None:
    """Remove from a folder of epochs the weights that are not kept, and the index and the folder if none are."""
    for file in folder.glob(f"*{EPOCH_WEIGHTS}"):
        if file.name not in keep:
            file.unlink()
    if not keep and folder.is_dir():
        (folder / EPOCH_INDEX).unlink(missing_ok=True)
        _remove_empty([folder])


def mark_unfinished(folder: Path) -> None:
    """Remove metrics and evaluation, because they describe the weights that are about to be replaced.

    What a process that was killed while it wrote the folder has left is removed too, so call it under the lock.
    """
    (folder / METRICS).unlink(missing_ok=True)
    shutil.rmtree(folder / EVALUATION, ignore_errors=True)
    for leftover in folder.glob(".tmp-*"):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()


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


def is_hub_id(model: str) -> bool:
    """Return whether a model that is no folder may be an id on the Hub, ``owner/name``.

    A path in an existing folder or in ``runs`` is a mistyped one, because its id on the Hub could belong to anyone.
    """
    owner, _, name = model.partition("/")
    may_be_owner = owner not in ("", RUNS) and not owner.startswith((".", "~")) and not os.path.isdir(owner)
    return may_be_owner and name != "" and "/" not in name


def require_pretrained(run: str | Path, setting: str, advice: str = "") -> None:
    """Check that a folder has the files of a finished run of pretraining.

    Args:
        run: the folder.
        setting: the setting that names it, for the message.
        advice: ends the message, after a colon; empty for none.

    Raises:
        UserError: if a file is missing.
    """
    for name in (CONFIG, METRICS, WEIGHTS, TEMPLATE):
        if not (Path(run) / name).is_file():
            ending = f": {advice}" if advice else ""
            raise UserError(f"{setting}: {run} is no finished run of pretraining: it has no {name}{ending}")
