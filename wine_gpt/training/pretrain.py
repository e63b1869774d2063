"""Pretrain a model from scratch: from a config to a run folder."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator
from accelerate.logging import get_logger
from transformers import PreTrainedTokenizerFast

from wine_gpt import run_folder
from wine_gpt.config import PretrainConfig
from wine_gpt.config_io import parse_config, to_yaml
from wine_gpt.data.batching import Indices
from wine_gpt.data.report import DataReport
from wine_gpt.data.template import ReviewTemplate
from wine_gpt.data.tokenized import TokenizedSplits
from wine_gpt.errors import UserError
from wine_gpt.files import JsonObject, read_json, sha256, write_atomically, write_json, writing
from wine_gpt.generation.prompts import tokenize_prompts
from wine_gpt.modeling.gpt2 import build_model
from wine_gpt.modeling.loss import LanguageModelLoss
from wine_gpt.modeling.pretrained import save_model
from wine_gpt.modeling.scoring import Score, score
from wine_gpt.processes import main_process_first, on_main_process, require_equal, shared_errors
from wine_gpt.tokenizer.files import fingerprint, vocabulary_sha256
from wine_gpt.tokenizer.prepared import PreparedReviews, prepared_by
from wine_gpt.tokenizer.reading_process import ReadingProcess, saves_memory
from wine_gpt.tokenizer.schemes import unit
from wine_gpt.training import record
from wine_gpt.training.accelerator import accelerator_session, require_equal_settings
from wine_gpt.training.calibration import calibrate, scale_logits
from wine_gpt.training.fitting_config import describe_fitting_config
from wine_gpt.training.objective import LanguageModeling, TargetSource
from wine_gpt.training.record import Distillation, Environment, PeakMemory, Refit, RunMetrics
from wine_gpt.training.resume import (
    EXTENDABLE_SETTING,
    find_checkpoint,
    require_resumable,
    require_same_settings,
    settings_fixed_on_resume,
)
from wine_gpt.training.trackers import log_results
from wine_gpt.training.trainer import Trainer, start_run
from wine_gpt.training.utilization import log_utilization, suggest_batch_tokens

logger = get_logger(__name__)

# a training from scratch with fewer steps prints a warning
FEW_STEPS = 300


@dataclass(frozen=True)
class FinishedRun:
    """A finished run.

    Attributes:
        folder: the run folder.
        score: the score on the test split, or on validation if there is no test split.
        split: the name of that split.
    """

    folder: Path
    score: Score
    split: str


@dataclass(frozen=True)
class Teacher:
    """A teacher, whose predictions a model learns.

    Attributes:
        settings: further settings that a finished run must share to be the same run.
        teach: makes the predictions; called on all processes, if the model is not finished. It takes the reviews, the
            accelerator, and a check of further values that must be equal to resume, which it must call before it
            replaces predictions. It returns those values, the predictions, and what the metrics file says of them.
    """

    settings: JsonObject
    teach: Callable[
        [PreparedReviews, Accelerator, Callable[[JsonObject], None]], tuple[JsonObject, TargetSource, Distillation]
    ]


@dataclass(frozen=True)
class TestedRun:
    """The finished run that a refit repeats on all its reviews; see :mod:`wine_gpt.training.refit`."""

    folder: Path
    metrics: RunMetrics


def pretrain(
    config: PretrainConfig,
    *,
    on_step: Callable[[int, list[Indices]], None] | None = None,
    teacher: Teacher | None = None,
    followed_by: float = 0.0,
    tested: TestedRun | None = None,
    accelerator: Accelerator | None = None,
    reading: ReadingProcess | None = None,
    tracker_name: str | None = None,
) -> FinishedRun:
    """Train a model from scratch and write a run folder that ``from_pretrained`` and ``pipeline`` load.

    Args:
        config: see :class:`PretrainConfig`.
        on_step: see :class:`Trainer`.
        teacher: see :class:`Teacher`; None trains on the reviews alone.
        followed_by: see :class:`Trainer`.
        tested: the run whose scores and calibration the model takes over, because no review is held out.
        accelerator: that of an :func:`accelerator_session` with the config's precision and trackers, in which several
            trainings follow each other; None for a session of its own.
        reading: a child process that reads the config's data already; None starts one if that saves memory.
        tracker_name: the run's name in trackers; None for that of the run folder.

    Raises:
        UserError: for anything that the user can fix.
        RunInterrupted: if SIGTERM or Ctrl-C stopped the run, after a checkpoint was saved.
    """
    folder = Path(config.output_dir)
    with contextlib.ExitStack() as stack:
        accelerator = accelerator or stack.enter_context(accelerator_session(config.training, folder))
        require_equal_settings(config, accelerator)
        on_main_process(lambda: stack.enter_context(_locked_folder(config, extendable=tested is None)))
        data = _load_data(config, tested is None, reading)
        run = _Run(config, accelerator, data, teacher, tested, tracker_name or folder.resolve().name)
        # the main process decides for all, because the others may see another disk
        metrics = on_main_process(lambda: _read_finished(run))
        if metrics is not None:
            logger.info(f"finished already: {folder} has all {metrics.training.steps:,} steps of this config")
            on_main_process(lambda: _update_sampling_defaults(run))
        else:
            resume_key, targets, distillation = _learn_from(run)
            objective = _build_objective(run, targets)
            trainer = Trainer(
                objective,
                config.training,
                accelerator,
                folder / run_folder.CHECKPOINTS,
                resume_key,
                epochs_folder=folder / run_folder.EPOCHS if config.training.keep_epochs else None,
                on_step=on_step,
                followed_by=followed_by,
            )
            metrics = _train(run, trainer, distillation)
        return _finished_run(folder, metrics)


@contextlib.contextmanager
def _locked_folder(config: PretrainConfig, *, extendable: bool) -> Iterator[None]:
    """Lock the run folder, and check that the run replaces neither another one nor the tokenizer that it reads.

    Args:
        config: the run's settings.
        extendable: see :func:`run_folder.require_free`.
    """
    folder = Path(config.output_dir)
    if config.overwrite and config.tokenizer.path:
        run_folder.require_apart(folder, Path(config.tokenizer.path), "the folder of tokenizer.path")
    with run_folder.locked(folder):
        is_new = config.resume is None or run_folder.resumes_another(folder, config.resume)
        if is_new and not config.overwrite:
            run_folder.require_free(folder, extendable=extendable)
        yield


@dataclass(frozen=True)
class _Run:
    """What a run is made from; see :func:`pretrain`."""

    config: PretrainConfig
    accelerator: Accelerator
    data: PreparedReviews
    teacher: Teacher | None
    tested: TestedRun | None
    tracker_name: str

    @property
    def folder(self) -> Path:
        """The run folder."""
        return Path(self.config.output_dir)

    @property
    def resume_key(self) -> JsonObject:
        """What must be equal to resume from a checkpoint, apart from the teacher's part."""
        return {
            **settings_fixed_on_resume(self.config, self.accelerator.mixed_precision),
            "data": self.data.fingerprint,
            "tokenizer": fingerprint(self.data.tokenizer),
        }

    @property
    def settings(self) -> JsonObject:
        """What must be equal for a finished run to be the same; known before the teacher is trained."""
        return {**self.resume_key, **(self.teacher.settings if self.teacher else {})}


def _learn_from(run: _Run) -> tuple[JsonObject, TargetSource | None, Distillation | None]:
    """Return the resume key, and the teacher's predictions and their record if the run has a teacher."""
    if run.teacher is None:
        return run.resume_key, None, None

    def check(values: JsonObject) -> None:
        with shared_errors():
            if run.config.resume:
                found, _ = find_checkpoint(run.folder / run_folder.CHECKPOINTS, run.config.resume)
                if found is not None:
                    require_resumable(found, {**run.resume_key, **values})

    values, targets, distillation = run.teacher.teach(run.data, run.accelerator, check)
    return {**run.resume_key, **values}, targets, distillation


def _train(run: _Run, trainer: Trainer[LanguageModelLoss], distillation: Distillation | None) -> RunMetrics:
    """Train the model to the end, from a checkpoint if resuming, then score and save it; return its metrics."""
    start_run(trainer, run.config, run.folder, run.tracker_name, run.config.resume)
    _advise(run, trainer)
    trainer.run()
    log_utilization(trainer)
    metrics = _evaluate(run, trainer, distillation)
    # a refit has the scores of the tested run
    log_results(run.accelerator, trainer.state, metrics.test if run.tested is None else None)
    on_main_process(lambda: _save(run, trainer, metrics))
    return metrics


def _advise(run: _Run, trainer: Trainer[LanguageModelLoss]) -> None:
    """Log the model's size and which config fits the data, and warn of settings that rarely do."""
    accelerator, tokenizer = run.accelerator, run.data.tokenizer
    logger.info(
        f"model: {trainer.module.model.num_parameters():,} parameters, {len(tokenizer):,} {unit(tokenizer)}; "
        f"{trainer.plan.total_steps:,} steps on {accelerator.num_processes} x {accelerator.device.type}"
    )
    if run.teacher is None and run.tested is None:
        logger.info(describe_fitting_config(run.data.words))
    _warn_of_few_steps(trainer)
    suggest_batch_tokens(trainer, FEW_STEPS)


def _finished_run(folder: Path, metrics: RunMetrics) -> FinishedRun:
    """Return the run with its score on the test split, or on validation if there is no test split."""
    split, score = ("test", metrics.test) if metrics.test else ("validation", metrics.validation)
    assert score is not None
    return FinishedRun(folder, score, split)


def _read_finished(run: _Run) -> RunMetrics | None:
    """Return the metrics of a run that is resumed if it has all steps of the config, none if there are steps left.

    A checkpoint that is named is resumed from, whatever was trained after it.

    Raises:
        UserError: if the run is finished, and its settings differ in more than the number of epochs or were not
            published, or it has no checkpoint to train more epochs from, or no weights.
    """
    if run.config.resume != run_folder.LATEST or not (run.folder / run_folder.METRICS).exists():
        return None
    metrics = RunMetrics.load(run.folder)
    then, now = metrics.settings, run.settings
    if not then:
        raise UserError(f"{run.folder} is a published model, which can't be resumed: name another --output_dir")
    require_same_settings(metrics.training.steps, then, now, source="then")
    if then[EXTENDABLE_SETTING] == now[EXTENDABLE_SETTING]:
        advice = f"remove its {run_folder.METRICS} to train on from its newest checkpoint, if it has one"
        run_folder.require_pretrained(run.folder, "resume", advice)
        return metrics
    if not run_folder.has_checkpoint(run.folder):
        raise UserError(
            f"{run.folder} is finished and has no checkpoint to train on from: name another --output_dir, or "
            "--overwrite to start over"
        )
    return None


def _update_sampling_defaults(run: _Run) -> None:
    """Write the sampling defaults of a finished run if they are others now, because they need no training."""
    config = parse_config(PretrainConfig, [str(run.folder / run_folder.CONFIG)])
    if config.generation == run.config.generation:
        return
    file, defaults = run.folder / run_folder.GENERATION_CONFIG, dataclasses.asdict(run.config.generation)
    updated = dataclasses.replace(config, generation=run.config.generation)
    with writing(run.folder):
        write_json(file, {**read_json(file), **defaults})
        write_atomically(run.folder / run_folder.CONFIG, to_yaml(updated))
    logger.info(f"generation: {file} has the new settings")


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


def _build_objective(run: _Run, targets: TargetSource | None) -> LanguageModeling:
    config, data = run.config, run.data
    with shared_errors():
        _require_fitting_prefix(config, data.tokenizer)
        model = build_model(config.model, data.tokenizer, config.training.seed, config.generation)
    return LanguageModeling(LanguageModelLoss(model), data.tokenizer, data.splits, config.data.prefix, targets)


def _require_fitting_prefix(config: PretrainConfig, tokenizer: PreTrainedTokenizerFast) -> None:
    """Check that the prefix leaves the model a position, because the samples after each epoch begin with it."""
    (prompt,) = tokenize_prompts(tokenizer, [config.data.prefix])
    taken, positions = len(prompt.ids), config.model.block_size
    if taken >= positions:
        raise UserError(
            f"config: model.block_size is {positions}: too small for a text after the {taken - 1:,} {unit(tokenizer)} "
            f"of data.prefix: set it to at least {taken + 1:,}, or shorten data.prefix"
        )


def _evaluate(run: _Run, trainer: Trainer[LanguageModelLoss], distillation: Distillation | None) -> RunMetrics:
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
        peak_memory_bytes=PeakMemory.of_this_process(),
        environment=Environment.of(trainer.accelerator.device),
        vocabulary_sha256=vocabulary_sha256(trainer.tokenizer),
        refit=refit,
        distillation=distillation,
        settings=run.settings,
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
    with writing(folder):
        save_model(folder, trainer.module.model, trainer.tokenizer)
        ReviewTemplate.from_config(run.config.data).save(folder)
        record.save_samples(folder, trainer.state)
        record.save_loss_curve(folder, trainer.state)
        run.data.report.save(folder / run_folder.DATA_REPORT)
        write_atomically(folder / run_folder.CONFIG, to_yaml(run.config))
        metrics.save(folder)
