"""One fine-tuning in its folder: skip it if it is finished, lock the folder, remove the checkpoints at the end."""

import contextlib
import dataclasses
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

from accelerate import Accelerator
from accelerate.logging import get_logger
from datasets import DatasetDict

from wine_gpt import run_folder
from wine_gpt.config import FinetuneConfig
from wine_gpt.config_io import to_yaml
from wine_gpt.data.reviews import Reviews
from wine_gpt.errors import UserError
from wine_gpt.files import JsonObject, JsonRecord, read_json, read_record, write_atomically, write_json, writing
from wine_gpt.finetuning.base import Base, load_base, load_base_reviews
from wine_gpt.modeling.scoring import ValidationScore
from wine_gpt.processes import on_main_process, shared_errors
from wine_gpt.training.accelerator import accelerator_session, require_equal_settings
from wine_gpt.training.objective import LossT, Objective
from wine_gpt.training.resume import describe_mismatch, settings_fixed_on_resume
from wine_gpt.training.trackers import log_results
from wine_gpt.training.trainer import Trainer, start_run

logger = get_logger(__name__)


MetricsT = TypeVar("MetricsT", bound=JsonRecord)
ScoreT = TypeVar("ScoreT", bound=ValidationScore)


class TaskRun(ABC, Generic[MetricsT]):
    """A fine-tuning that is written to one folder.

    Args:
        folder: the folder of the model and its metrics.
        base: the model to fine-tune.
        config: see :class:`FinetuneConfig`.
        accelerator: for the device, the index of this process and the number of processes.
        task_settings: the task's settings that must be equal to resume, and to be the same finished run.
        step_settings: further values that change what a step computes, and must be equal to resume from a checkpoint.

    Attributes:
        metrics_class: the class of the figures in the metrics file.
        resume_key: all values that must be equal to resume; the metrics file has them as ``settings``.
    """

    metrics_class: type[MetricsT]

    def __init__(
        self,
        folder: Path,
        base: Base,
        config: FinetuneConfig,
        accelerator: Accelerator,
        task_settings: JsonObject,
        step_settings: JsonObject | None = None,
    ) -> None:
        self.folder = folder
        self.base = base
        self.config = config
        self.accelerator = accelerator
        self.resume_key = {
            **settings_fixed_on_resume(config, accelerator.mixed_precision),
            **task_settings,
            "base": base.sha256,
            "data": base.fingerprint,
        }
        self._step_settings = step_settings or {}

    @abstractmethod
    def run(self) -> MetricsT:
        """Train, score and save the model."""

    def require_ready(self) -> None:
        """Check, before anything is written, that the folder holds no other run.

        Raises:
            UserError: that names the other run and says how to resume or to start over.
        """
        if (self.folder / run_folder.CONFIG).is_file():
            raise UserError(f"output_dir: {self.folder} is a pretraining run: name another folder")
        if self.finished() is None and not self.config.resume and not self.config.overwrite:
            run_folder.require_free(self.folder)

    def finish(self) -> MetricsT:
        """Train to the end, from the newest checkpoint if resuming, or read the metrics of a finished run.

        Raises:
            UserError: on all processes, if the folder can't be written or another process writes a run there.
        """
        checkpoints = self.folder / run_folder.CHECKPOINTS
        with contextlib.ExitStack() as stack:

            def begin() -> tuple[MetricsT | None, bool]:
                found = self.finished()
                # a finished run that was killed before the end has left checkpoints
                if has_work := found is None or checkpoints.exists():
                    stack.enter_context(run_folder.locked(self.folder))
                return found, has_work

            # the main process decides for all, because the others may see another disk
            metrics, has_work = on_main_process(begin)
            if metrics is not None:
                logger.info("finished already")
            else:
                metrics = self.run()
                self.accelerator.free_memory()
        if has_work and self.accelerator.is_main_process:
            # checkpoints are needed only to resume, and are larger than the model
            shutil.rmtree(checkpoints)
        return metrics

    def finished(self) -> MetricsT | None:
        """Return the metrics of a finished run with the same settings, None if it is unfinished or overwritten.

        Raises:
            UserError: if it was finished with other settings.
        """
        file = self.folder / run_folder.METRICS
        if self.config.overwrite or not file.exists():
            return None
        # before the other metrics are read, because a run of another task has others
        if others := describe_mismatch(read_json(file).get("settings", {}), self.resume_key, "then"):
            raise UserError(
                f"{self.folder} was finished with other settings: {others}; "
                "name another --output_dir, or --overwrite to start over"
            )
        return read_record(file, self.metrics_class.from_dict)

    def make_trainer(self, objective: Objective[LossT]) -> Trainer[LossT]:
        """Return a trainer whose checkpoints are in the run's folder."""
        checkpoints, key = self.folder / run_folder.CHECKPOINTS, {**self.resume_key, **self._step_settings}
        return Trainer(objective, self.config.training, self.accelerator, checkpoints, key)

    def start(self, trainer: Trainer[Any], name: str) -> None:
        """Resume if the config says so, clear the folder, and start the trackers.

        Args:
            trainer: the trainer, which must not have trained.
            name: the name of the run in trackers.
        """
        start_run(trainer, self.config, self.folder, name, "latest" if self.config.resume else None)

    def train(self, trainer: Trainer[Any], score: Callable[[str], ScoreT]) -> tuple[ScoreT, ScoreT]:
        """Train to the end, and return the scores of the test and the validation split.

        Args:
            trainer: the trainer, which must not have trained.
            score: scores the split of a name.
        """
        self.start(trainer, self.folder.resolve().name)
        trainer.run()
        test, validation = score("test"), score("validation")
        log_results(self.accelerator, trainer.state, test)
        return test, validation

    def save_on_main_process(self, save: Callable[[], MetricsT]) -> MetricsT:
        """Write the metrics file with what ``save`` returns on the main process, after its files.

        Returns:
            the metrics, on all processes; an error is raised on all, too.
        """

        def write() -> MetricsT:
            with writing(self.folder):
                metrics = save()
                write_json(self.folder / run_folder.METRICS, metrics.to_dict())
            return metrics

        return on_main_process(write)

    def write_config(self, config: FinetuneConfig) -> None:
        """Write a config, with the absolute path of the base, into the folder."""
        absolute = dataclasses.replace(config, base=self.base.path)
        write_atomically(self.folder / run_folder.FINETUNE_CONFIG, to_yaml(absolute))


@contextlib.contextmanager
def base_session(config: FinetuneConfig) -> Iterator[tuple[Base, Reviews, Accelerator]]:
    """Load the base and its reviews, and create an Accelerator that is ended on leaving.

    Raises:
        UserError: on all processes, if they can't be loaded, or the processes have different settings.
    """
    with contextlib.ExitStack() as stack:
        with shared_errors():
            base = load_base(config.base)
        accelerator = stack.enter_context(accelerator_session(config.training, Path(config.output_dir)))
        require_equal_settings(config, accelerator)
        yield base, load_base_reviews(base, config), accelerator


def finish_task(
    config: FinetuneConfig, make_run: Callable[[Base, Reviews, FinetuneConfig, Accelerator], TaskRun[MetricsT]]
) -> MetricsT:
    """Load the base and its reviews, and train one model in ``output_dir`` to the end.

    Raises:
        UserError: for anything that the user can fix.
        RunInterrupted: after a checkpoint, on SIGTERM or Ctrl-C.
    """
    with base_session(config) as (base, reviews, accelerator):
        run = make_run(base, reviews, config, accelerator)
        on_main_process(run.require_ready)
        return run.finish()


def require_held_out(splits: DatasetDict, having: str) -> None:
    """Check that each split has a review that the task can learn from or be scored on.

    Args:
        splits: those reviews.
        having: what the reviews have that others lack, for the message.

    Raises:
        UserError: that names the empty splits.
    """
    empty = [name for name, split in splits.items() if not len(split)]
    if empty:
        raise UserError(
            f"no review of the {' or '.join(empty)} split has {having}: use more data, or pretrain a base with larger "
            "data.validation_fraction and data.test_fraction"
        )
