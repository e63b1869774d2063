"""The training loop of all runs, from scratch or from a base model, on one process or several."""

import contextlib
import hashlib
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic

import torch
from accelerate import Accelerator
from accelerate.logging import get_logger

from wine_gpt import run_folder
from wine_gpt.config import FinetuneConfig, PretrainConfig, TrainingConfig
from wine_gpt.data.batching import BatchPlan, Indices, cut_texts, positions_of
from wine_gpt.errors import RunInterrupted, UserError
from wine_gpt.files import JsonObject, writing
from wine_gpt.modeling.scoring import ValidationScore
from wine_gpt.processes import on_all_processes, on_main_process, require_equal, shared_errors, shorter_waits
from wine_gpt.progress import Progress
from wine_gpt.training.checkpoint import Checkpoint
from wine_gpt.training.energy import EnergyMeter
from wine_gpt.training.epoch_weights import discard_after, keep
from wine_gpt.training.hardware import device_name
from wine_gpt.training.objective import LossT, Objective
from wine_gpt.training.record import EpochLoss, EpochResult, TrainingState, TrainingSummary
from wine_gpt.training.resume import TrainingCheckpoints, find_checkpoint
from wine_gpt.training.schedule import learning_rate
from wine_gpt.training.signals import GracefulShutdown
from wine_gpt.training.step import HostCopy, StepLoss, TrainStep
from wine_gpt.training.trackers import log_epoch, start_trackers

logger = get_logger(__name__)

# a long run's training loss curve has at least this many points, and fewer than twice as many
CURVE_POINTS = 500


class Trainer(Generic[LossT]):
    """Trains a model on a tokenized ``train`` split and keeps the weights with the lowest ``validation`` loss.

    With an empty ``validation`` split the last epoch's weights are kept.

    Args:
        objective: has the model, which is changed in place and has the best weights when :meth:`run` returns.
            Parameters that need no gradient are neither changed nor saved in checkpoints.
        config: see :class:`TrainingConfig`.
        accelerator: determines the device, this process's index and the number of processes.
        checkpoints: the folder of the checkpoints.
        resume_key: values that must be equal to resume from a checkpoint; saved in each checkpoint.
        epochs_folder: the folder of the weights of every epoch; None keeps the best ones only.
        on_step: called before each optimizer step with the step, counted from 0, and this process's micro-batches,
            each the indices of its reviews in the training split.
        followed_by: duration of the trainings still to come, as a multiple of this one's; used only to print the
            remaining time.

    Attributes:
        cut: how much of the training split is not seen, because texts are longer than the model's positions.

    Raises:
        UserError: if the batches can't be divided into micro-batches or among the processes.
    """

    def __init__(
        self,
        objective: Objective[LossT],
        config: TrainingConfig,
        accelerator: Accelerator,
        checkpoints: Path,
        resume_key: JsonObject,
        *,
        epochs_folder: Path | None = None,
        on_step: Callable[[int, list[Indices]], None] | None = None,
        followed_by: float = 0.0,
    ) -> None:
        self.config = config
        self.objective = objective
        self.tokenizer = objective.tokenizer
        self.accelerator = accelerator
        self.epochs_folder = epochs_folder
        self.on_step = on_step
        self.followed_by = followed_by
        self.cut = cut_texts(objective.train_split, objective.block_size)
        if self.cut.cut:
            logger.warning(f"model: {self.cut}")
        positions = positions_of(objective.train_split, objective.block_size)
        with shared_errors():
            self.plan = BatchPlan(positions, config.batch_tokens, config.seed, config.epochs, objective.rows_of_epoch)
        self.module = objective.module
        self.updater = TrainStep(objective, self.plan, config, accelerator)
        self.checkpoints = TrainingCheckpoints(
            checkpoints,
            config.keep_checkpoints,
            resume_key,
            describe_runtime(accelerator, self.updater.micro_batch_count),
            self.module.model,
            self.updater.optimizer,
            accelerator,
        )
        self.state = TrainingState()
        # the tokens and seconds of the run that is resumed, which may have been on another machine
        self._earlier = (0, 0.0)
        self.energy_meter = EnergyMeter()
        # on CUDA the signals gathered after one step are read after the next one, so that the host does not wait
        self._previous_signals = HostCopy(torch.zeros(1), None)

    def run(self) -> TrainingState:
        """Train from the current step to the end and put the best weights into the model.

        Raises:
            UserError: if loss or gradient is not finite, or a checkpoint can't be written.
            RunInterrupted: after a checkpoint, at the end of the step in which any process got SIGTERM or Ctrl-C.
        """
        total, is_main_process = self.plan.total_steps, self.accelerator.is_main_process
        self.module.train()
        if self.state.step == 0:
            self._keep_random_weights()
        steps_after = round(self.followed_by * total)
        with (
            # closed before an error is printed, because the bar's line has no end
            contextlib.closing(Progress(total, self.state.step, is_main_process, steps_after)) as progress,
            self.energy_meter if is_main_process else contextlib.nullcontext(),
            GracefulShutdown(self.accelerator.is_local_main_process) as shutdown,
            shorter_waits(),
        ):
            for step in range(self.state.step, total):
                self.train_step(step)
                progress.step(self._note())
                if self.plan.ends_epoch(step):
                    self.end_epoch(progress)
                elif self.config.checkpoint_steps and (step + 1) % self.config.checkpoint_steps == 0:
                    self.save_checkpoint()
                self._stop_if_signaled(shutdown)
        self.checkpoints.load_weights(self.checkpoints.best_weights)
        return self.state

    def train_step(self, step: int) -> None:
        """Update the weights on one global batch, and record the losses that are known; see :class:`TrainStep`.

        Args:
            step: the step, counted from 0.

        Raises:
            UserError: if loss or gradient is not finite on any process; the weights are those before that step.
        """

        def run() -> list[StepLoss]:
            batch = self.updater.batch(step)
            if self.on_step is not None:
                self.on_step(step, batch.micro_batches)
            return self.updater.run(batch)

        self._record_losses(run)

    def finish_steps(self) -> None:
        """Wait for a step that is queued on a GPU, and record its loss.

        Raises:
            UserError: see :meth:`train_step`.
        """
        self._record_losses(self.updater.finish)

    def _record_losses(self, losses: Callable[[], list[StepLoss]]) -> None:
        started = time.monotonic()
        try:
            found = losses()
        except UserError as error:
            saved = self.checkpoints.saved_step
            kept = f"step {saved:,} is saved" if saved else "nothing is saved yet"
            raise on_all_processes(UserError(f"{error}; {kept}")) from error
        # before a loss is logged, because the log has the rate
        self.state.seconds += time.monotonic() - started
        for loss in found:
            self.state.step = loss.batch.step + 1
            self.state.add_loss(loss.nats, loss.batch.units, loss.batch.tokens)
            if self.state.step % max(self.plan.total_steps // CURVE_POINTS, 1) == 0:
                self._log_loss()

    def end_epoch(self, progress: Progress) -> None:
        """Validate, sample, keep the weights if they are the best so far, and save a checkpoint.

        Raises:
            UserError: on all processes, if a figure of the validation is not finite.
        """
        self.finish_steps()
        epoch = self.plan.epoch_of(self.state.step - 1) + 1
        validation = self.objective.validate(self.accelerator)
        infinite = [name for name, value in validation.figures().items() if not math.isfinite(value)]
        if len(self.objective.validation_split) and infinite:
            problem = f"epoch {epoch}: the validation {infinite[-1]} is not finite: lower training.learning_rate"
            raise on_all_processes(UserError(problem))
        # torch and NumPy take seeds below 2^32
        samples = self.objective.sample((self.config.seed + self.state.step) % 2**32)
        result = EpochResult(epoch, self.state.step, validation, samples)
        self.state.epochs.append(result)
        is_best = self.state.best is result
        if is_best:
            self.checkpoints.keep_best_weights()
        # write the epoch's weights before the checkpoint: if the run is killed in between, it resumes from before this
        # epoch and writes them again
        self._keep_epoch(epoch, validation)
        log_epoch(self.accelerator, result)
        progress.say(f"epoch {epoch} of {self.config.epochs}{_describe(validation, is_best)}")
        for text in samples[:1]:
            progress.say(f"  {text}")
        self.save_checkpoint()

    def save_checkpoint(self) -> None:
        """Save a checkpoint from which training can resume after the current step.

        Raises:
            UserError: if the checkpoint can't be written.
        """
        self.finish_steps()
        if self.accelerator.is_main_process:
            self.state.add_energy(self.energy_meter.take())
        self.checkpoints.save(self.state)

    def resume_from(self, requested: str) -> None:
        """Resume from the newest good checkpoint, if there is one yet, or from a given one.

        Args:
            requested: ``latest``, or the path of a checkpoint.

        Raises:
            UserError: if no checkpoint is good although there are some, or as :meth:`resume`.
        """
        folder = self.checkpoints.folder
        found, problems = find_checkpoint(folder, requested)
        for problem in problems:
            logger.info(f"skipped: {problem}")
        if found is None:
            logger.info(f"no checkpoint in {folder} yet: starting at step 0")
            return
        self.resume(found)
        logger.info(f"resumed from step {found.step:,}")

    def resume(self, found: Checkpoint) -> None:
        """Continue after a checkpoint's step, with its weights, optimizer and results so far.

        Raises:
            UserError: if a setting differs from the checkpoint's, except for more epochs. The message names each;
                nothing is changed.
        """
        self.state, changed = self.checkpoints.restore(found, self.objective.read_score)
        self._earlier = (self.state.total_tokens, self.state.seconds)
        if changed:
            logger.info(f"note: the last bits of the result may differ, because the runtime changed: {changed}")

    def require_equal_start(self) -> None:
        """Check that all processes start at the same step with the same state.

        Raises:
            UserError: on all processes, with the rank and the step of the first that differs.
        """
        state = json.dumps(self.state.to_dict(), sort_keys=True)
        require_equal(
            {"step": self.state.step, "state of training (sha256)": hashlib.sha256(state.encode()).hexdigest()[:12]},
            f"put {self.checkpoints.folder} on a disk that all machines share, or copy it to each",
        )

    def summary(self) -> TrainingSummary:
        """Return the summary of a finished training for a metrics file."""
        state = self.state
        return TrainingSummary(
            steps=state.step,
            epochs=[EpochLoss.from_dict(epoch.to_dict()) for epoch in state.epochs],
            best_epoch=state.best.epoch if state.best else None,
            tokens=state.total_tokens,
            seconds=round(state.seconds, 1),
            tokens_per_second=round(state.tokens_per_second) if state.seconds else None,
            padding_fraction=round(self.plan.padding_fraction(), 4),
            reviews_cut=self.cut.cut,
            words_cut=round(self.cut.tokens_cut, 4),
            processes=self.accelerator.num_processes,
            mixed_precision=self.accelerator.mixed_precision,
            energy_kwh=state.energy_kwh,
        )

    @property
    def current_tokens_per_second(self) -> float:
        """The mean rate since the training started or was resumed; 0 before the first step."""
        tokens, seconds = self._earlier
        passed = self.state.seconds - seconds
        return (self.state.total_tokens - tokens) / passed if passed else 0.0

    def _stop_if_signaled(self, shutdown: GracefulShutdown) -> None:
        """Save a checkpoint and raise :class:`RunInterrupted` on all processes if any process got a signal."""
        signal = shutdown.signal
        if self.accelerator.num_processes > 1:
            # gathered, because the launcher's signal reaches the processes at different steps
            # filled on the device, because a copy from the CPU's memory would wait for the step that is queued
            own = torch.full((), signal, device=self.accelerator.device)
            gathered = HostCopy.of(self.accelerator.gather(own))
            # after the last step there is no later one to read the signals in
            if self.updater.reads_late and self.state.step < self.plan.total_steps:
                gathered, self._previous_signals = self._previous_signals, gathered
            signal = int(max(gathered.wait()))
        if signal:
            self.finish_steps()
            if self.checkpoints.saved_step != self.state.step:
                self.save_checkpoint()
            saved = f"stopped after step {self.state.step:,}, which is saved in {self.checkpoints.folder}"
            raise on_all_processes(RunInterrupted(saved, signal))

    def _keep_random_weights(self) -> None:
        if self.epochs_folder is not None:
            self._keep_epoch(0, self.objective.validate(self.accelerator))

    def _keep_epoch(self, epoch: int, validation: ValidationScore) -> None:
        """Write the current weights to the folder of the epochs, if there is one."""
        folder = self.epochs_folder
        if folder is not None:
            on_main_process(
                lambda: keep(
                    folder,
                    self.checkpoints.weights,
                    epoch=epoch,
                    step=self.state.step,
                    training_loss=self.state.last_epoch_loss(),
                    validation_loss=validation.loss,
                )
            )

    def _log_loss(self) -> None:
        loss = self.state.add_curve_point()
        figures = {
            f"train/nats_per_{self.objective.unit}": loss,
            "train/learning_rate": learning_rate(self.state.step - 1, self.plan.total_steps, self.config),
            "train/tokens_per_second": self.current_tokens_per_second,
        }
        self.accelerator.log(figures, step=self.state.step)

    def _note(self) -> str:
        loss = f"loss {self.state.curve[-1][1]:.3f}, " if self.state.curve else ""
        return f"{loss}{self.current_tokens_per_second:,.0f} tokens/s"


def start_run(
    trainer: Trainer[Any], config: PretrainConfig | FinetuneConfig, folder: Path, name: str, resume: str | None
) -> None:
    """Resume if there is something to resume from, clear the run folder, and start the trackers.

    Args:
        trainer: the trainer, which must not have trained.
        config: the settings, of which ``overwrite`` removes an earlier run.
        folder: the run folder.
        name: the name of the run in trackers.
        resume: what to resume from, see :meth:`Trainer.resume_from`; None starts at step 0.

    Raises:
        UserError: on all processes, if the run can't be resumed or the folder can't be cleared.
    """
    with shared_errors():
        if resume is not None:
            trainer.resume_from(resume)
    trainer.require_equal_start()

    def clear() -> None:
        with writing(folder):
            if config.overwrite:
                run_folder.remove_run(folder)
            run_folder.mark_unfinished(folder)
            # the epochs of a run that began with a checkpoint of another one are not that run's
            own_steps = 0 if run_folder.resumes_another(folder, resume) else trainer.state.step
            discard_after(folder / run_folder.EPOCHS, own_steps)

    # after all checks, so that a wrong setting does not remove an earlier run
    on_main_process(clear)
    start_trackers(trainer.accelerator, folder, name, config, trainer.state)


def _describe(validation: ValidationScore, is_best: bool) -> str:
    if not validation.reviews:
        return ""
    return f": validation {validation}{', the best so far' if is_best else ''}"


def describe_runtime(accelerator: Accelerator, micro_batches: int) -> JsonObject:
    """Return values that may differ on resume, and may then change the last bits of what a step computes."""
    return {
        "device": device_name(accelerator.device),
        "processes": accelerator.num_processes,
        "threads": torch.get_num_threads(),
        "micro-batches": micro_batches,
        "torch": torch.__version__,
    }
