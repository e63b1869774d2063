"""Pretrain a model from scratch: from a config to a run folder."""

import contextlib
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator
from accelerate.logging import get_logger
from accelerate.utils import broadcast_object_list

from wine_gpt import run_folder
from wine_gpt.config import PretrainConfig
from wine_gpt.config_io import parse_config, to_yaml
from wine_gpt.data.batching import Indices
from wine_gpt.data.report import DataReport
from wine_gpt.data.template import ReviewTemplate
from wine_gpt.data.tokenized import TokenizedSplits
from wine_gpt.errors import UserError
from wine_gpt.files import JsonObject, sha256, write_atomically, writing
from wine_gpt.modeling.gpt2 import build_model
from wine_gpt.modeling.loss import LanguageModelLoss
from wine_gpt.modeling.pretrained import save_model
from wine_gpt.modeling.scoring import Score, score
from wine_gpt.processes import main_process_first, require_equal, shared_errors
from wine_gpt.tokenizer.files import fingerprint, vocabulary_sha256
from wine_gpt.tokenizer.prepared import PreparedReviews, prepared_by
from wine_gpt.tokenizer.reading_process import ReadingProcess, saves_memory
from wine_gpt.tokenizer.schemes import unit
from wine_gpt.training import epoch_weights, record
from wine_gpt.training.accelerator import accelerator_session, require_equal_settings
from wine_gpt.training.calibration import calibrate, scale_logits
from wine_gpt.training.fitting_config import describe_fitting_config
from wine_gpt.training.objective import LanguageModeling, Teacher
from wine_gpt.training.record import Distillation, Environment, PeakMemory, Refit, RunMetrics
from wine_gpt.training.resume import describe_mismatch, settings_fixed_on_resume
from wine_gpt.training.trackers import log_results, start_trackers
from wine_gpt.training.trainer import Trainer
from wine_gpt.training.utilization import log_utilization, suggest_batch_tokens

logger = get_logger(__name__)

# a training from scratch with fewer steps prints a warning
FEW_STEPS = 300


@dataclass(frozen=True)
class FinishedRun:
    """A finished run: its folder, and its score on the test split, or on validation if there is no test split."""

    folder: Path
    score: Score


@dataclass(frozen=True)
class Teaching:
    """What a model learns from a teacher.

    Attributes:
        teacher: the predictions that the model learns.
        resume_key: further values that must be equal to resume.
        record: what the metrics file says of it.
    """

    teacher: Teacher
    resume_key: JsonObject
    record: Distillation


@dataclass(frozen=True)
class TestedRun:
    """The finished run that a refit repeats on all its reviews; see :mod:`wine_gpt.training.refit`."""

    folder: Path
    metrics: RunMetrics


# called on all processes
Teach = Callable[[PreparedReviews, Accelerator], Teaching]


def pretrain(
    config: PretrainConfig,
    *,
    on_step: Callable[[int, list[Indices]], None] | None = None,
    on_checkpoint: Callable[[Path], None] | None = None,
    teach: Teach | None = None,
    followed_by: float = 0.0,
    tested: TestedRun | None = None,
    accelerator: Accelerator | None = None,
    reading: ReadingProcess | None = None,
) -> FinishedRun:
    """Train a model from scratch and write a run folder that ``from_pretrained`` and ``pipeline`` load.

    Args:
        config: see :class:`PretrainConfig`.
        on_step: see :class:`Trainer`.
        on_checkpoint: see :class:`Trainer`.
        teach: returns what the model learns from a teacher; None trains on the reviews alone.
        followed_by: how long the trainings that follow this one take, in trainings of this length, for the remaining
            time of all.
        tested: the run whose scores and calibration the model takes over, because no review is held out.
        accelerator: that of an :func:`accelerator_session` with the config's precision and trackers, in which several
            trainings follow each other; None for a session of its own.
        reading: a child process that reads the config's data already; None starts one if that saves memory.

    Raises:
        UserError: for anything that the user can fix.
        RunInterrupted: if SIGTERM or Ctrl-C stopped the run, after a checkpoint was saved.
    """
    folder = Path(config.output_dir)
    with contextlib.ExitStack() as stack:
        accelerator = accelerator or stack.enter_context(accelerator_session(config.training, folder))
        require_equal_settings(config, accelerator)
        with shared_errors():
            if accelerator.is_main_process:
                stack.enter_context(run_folder.locked(folder))
                if not config.overwrite and config.resume is None:
                    run_folder.require_free(folder)
        data = _load_data(config, tested is None, reading)
        run = _Run(config, accelerator, data, teach(data, accelerator) if teach else None, tested)
        trainer = _build_trainer(run)
        trainer.steps_after = round(followed_by * trainer.plan.total_steps)
        trainer.on_step = on_step or trainer.on_step
        trainer.on_checkpoint = on_checkpoint or trainer.on_checkpoint
        return FinishedRun(folder, _held_out(_resume_or_train(run, trainer)))


@dataclass(frozen=True)
class _Run:
    """What a run is made from: its settings, the processes, the data, a teacher's predictions, and a refit's run."""

    config: PretrainConfig
    accelerator: Accelerator
    data: PreparedReviews
    teaching: Teaching | None
    tested: TestedRun | None

    @property
    def folder(self) -> Path:
        """The run folder."""
        return Path(self.config.output_dir)


def _resume_or_train(run: _Run, trainer: Trainer[LanguageModelLoss]) -> RunMetrics:
    """Return the metrics of the run, which is trained, scored and saved unless it is finished already."""
    if run.config.resume:
        with shared_errors():
            trainer.resume_from(run.config.resume)
    trainer.require_equal_start()
    if (finished := _finished_metrics(run, trainer)) is not None:
        logger.info(f"finished already: {run.folder} has all {trainer.plan.total_steps:,} steps of this config")
        return finished
    _advise(run, trainer)
    _begin(run, trainer)
    trainer.run()
    log_utilization(trainer)
    metrics = _evaluate(run, trainer)
    # a refit has the scores of the tested run
    log_results(run.accelerator, trainer.state, metrics.test if run.tested is None else None)
    with shared_errors():
        if run.accelerator.is_main_process:
            with writing(run.folder):
                _save(run, trainer, metrics)
    return metrics


def _advise(run: _Run, trainer: Trainer[LanguageModelLoss]) -> None:
    """Log which config fits the data, and warn of settings that rarely do."""
    if run.teaching is None and run.tested is None:
        logger.info(describe_fitting_config(run.data.words))
    _warn_of_few_steps(trainer)
    suggest_batch_tokens(trainer, FEW_STEPS)


def _begin(run: _Run, trainer: Trainer[LanguageModelLoss]) -> None:
    """Mark the folder as that of an unfinished run, and start the trackers."""
    folder, accelerator, tokenizer = run.folder, run.accelerator, run.data.tokenizer
    # after all checks, so that a wrong setting does not remove an earlier run
    with shared_errors():
        if accelerator.is_main_process:
            if run.config.overwrite:
                run_folder.remove_run(folder)
            run_folder.mark_unfinished(folder)
            epoch_weights.discard_after(folder / run_folder.EPOCHS, trainer.state.step)
    logger.info(
        f"model: {trainer.module.model.num_parameters():,} parameters, {len(tokenizer):,} {unit(tokenizer)}; "
        f"{trainer.plan.total_steps:,} steps on {accelerator.num_processes} x {accelerator.device.type}"
    )
    start_trackers(accelerator, folder, folder.resolve().name, run.config, trainer.state)


def _held_out(metrics: RunMetrics) -> Score:
    """Return the score on the test split, or on validation if there is no test split."""
    held_out = metrics.test or metrics.validation
    assert held_out is not None
    return held_out


def _finished_metrics(run: _Run, trainer: Trainer[LanguageModelLoss]) -> RunMetrics | None:
    """Return the metrics of a finished run that is resumed, none if there are steps left.

    Raises:
        UserError: on all processes, if the run is finished, its checkpoints are removed and its settings differ.
    """
    metrics = None
    with shared_errors():
        if run.config.resume and run.accelerator.is_main_process and (run.folder / run_folder.METRICS).exists():
            metrics = RunMetrics.load(run.folder)
            if not trainer.state.step and not _is_repeated(run.folder, metrics, trainer.checkpoints.resume_key):
                raise UserError(run_folder.finished_message(run.folder))
    if trainer.state.step not in (0, trainer.plan.total_steps):
        return None
    found: list[RunMetrics | None] = broadcast_object_list([metrics])
    return found[0]


def _is_repeated(folder: Path, metrics: RunMetrics, resume_key: JsonObject) -> bool:
    """Return whether a finished run had these data and settings, by its files apart from the checkpoints."""
    config = parse_config(PretrainConfig, [str(folder / run_folder.CONFIG)])
    then = settings_fixed_on_resume(config, metrics.training.mixed_precision)
    now = {key: value for key, value in resume_key.items() if key in then}
    return metrics.data_fingerprint == resume_key["data"] and not describe_mismatch(then, now)


def _warn_of_few_steps(trainer: Trainer[LanguageModelLoss]) -> None:
    steps, config = trainer.plan.total_steps, trainer.config
    if steps < FEW_STEPS:
        logger.warning(
            f"optimizer steps: {steps}; with fewer than {FEW_STEPS} most models are still learning at the end: "
            f"raise training.epochs, or lower training.batch_tokens (now {config.batch_tokens:,})"
        )


def _load_data(config: PretrainConfig, held_out: bool, reading: ReadingProcess | None) -> PreparedReviews:
    """Return the tokenized reviews and the tokenizer; the main process fills the cache for the others."""

    def log(report: DataReport) -> None:
        logger.info(str(report))

    def read() -> PreparedReviews:
        if reading is not None:
            return prepared_by(reading, config, log)
        if saves_memory():
            with ReadingProcess(config, held_out) as started:
                return prepared_by(started, config, log)
        # imported here, because it imports datasets, pandas and Arrow
        from wine_gpt.tokenizer.prepare import prepare

        return prepare(config, held_out, log)

    prepared = main_process_first(read)
    equal = {"data": prepared.fingerprint, "tokenizer": fingerprint(prepared.tokenizer)}
    require_equal(equal, "every machine needs the same data file and the same tokenizer")
    if prepared.poor_fit:
        logger.warning(f"tokenizer: {prepared.poor_fit}")
    return prepared


def _build_trainer(run: _Run) -> Trainer[LanguageModelLoss]:
    config, data = run.config, run.data
    with shared_errors():
        model = build_model(config.model, data.tokenizer, config.training.seed, config.generation)
    objective = LanguageModeling(
        LanguageModelLoss(model),
        data.tokenizer,
        data.splits,
        config.data.prefix,
        run.teaching.teacher if run.teaching else None,
    )
    checkpoints = run.folder / run_folder.CHECKPOINTS
    trainer = Trainer(objective, config.training, run.accelerator, checkpoints, _resume_key(run))
    if config.training.keep_epochs:
        trainer.epochs_folder = run.folder / run_folder.EPOCHS
    return trainer


def _resume_key(run: _Run) -> JsonObject:
    """Return what must be equal to resume from a checkpoint."""
    return {
        **settings_fixed_on_resume(run.config, run.accelerator.mixed_precision),
        "data": run.data.fingerprint,
        "tokenizer": fingerprint(run.data.tokenizer),
        **(run.teaching.resume_key if run.teaching else {}),
    }


def _evaluate(run: _Run, trainer: Trainer[LanguageModelLoss]) -> RunMetrics:
    """Calibrate the trained model and score it; a refit takes over the tested run's calibration and scores."""
    tested, splits = run.tested, run.data.splits
    if tested is None:
        scale, validation, test = _calibrate_and_score(trainer, splits)
        training, refit = trainer.summary(), None
    else:
        scale, validation, test = _take_over(trainer, tested.metrics)
        refit = Refit(
            run=tested.folder.resolve().name,
            weights_sha256=sha256(tested.folder / run_folder.WEIGHTS),
            epochs=trainer.config.epochs,
            reviews=len(splits["train"]),
        )
        # no epoch has a validation loss
        training = dataclasses.replace(trainer.summary(), epochs=[], best_epoch=None)
    return RunMetrics(
        validation=validation,
        test=test,
        data_fingerprint=run.data.fingerprint,
        training=dataclasses.replace(training, logit_scale=round(scale, 4)),
        parameters=trainer.module.model.num_parameters(),
        peak_memory=PeakMemory.of_this_process(),
        environment=Environment.of(trainer.accelerator.device),
        vocabulary_sha256=vocabulary_sha256(trainer.tokenizer),
        refit=refit,
        distillation=run.teaching.record if run.teaching else None,
    )


def _calibrate_and_score(
    trainer: Trainer[LanguageModelLoss], splits: TokenizedSplits
) -> tuple[float, Score | None, Score | None]:
    """Return the factor of the logits, and the scores of validation and test; None for an empty split."""
    scoring = (trainer.tokenizer, trainer.accelerator)
    scale = calibrate(trainer.module, splits["validation"], *scoring)
    logger.info(f"calibrated on validation: logits x {scale:.2f}")
    validation, test = (
        score(trainer.module, splits[name], *scoring) if len(splits[name]) else None for name in ("validation", "test")
    )
    return scale, validation, test


def _take_over(trainer: Trainer[LanguageModelLoss], tested: RunMetrics) -> tuple[float, Score | None, Score | None]:
    """Calibrate by the tested run's factor of the logits; return it and that run's scores."""
    scale = tested.training.logit_scale or 1.0
    scale_logits(trainer.module, scale)
    logger.info(f"calibrated as the tested run: logits x {scale:.2f}")
    return scale, tested.validation, tested.test


def _save(run: _Run, trainer: Trainer[LanguageModelLoss], metrics: RunMetrics) -> None:
    """Write the run folder; the metrics come last, because they mark the run as finished."""
    folder = run.folder
    save_model(folder, trainer.module.model, trainer.tokenizer)
    ReviewTemplate.from_config(run.config.data).save(folder)
    record.save_samples(folder, trainer.state)
    record.save_loss_curve(folder, trainer.state)
    run.data.report.save(folder / run_folder.DATA_REPORT)
    write_atomically(folder / run_folder.CONFIG, to_yaml(run.config))
    metrics.save(folder)
