"""Train a tested run's model again on all its reviews, for publishing.

The settings are the tested run's, with as many epochs as gave its lowest validation loss, and with its tokenizer and
calibration. No review is held out, so nothing of the refit is measured: its metrics file has the tested run's scores.
"""

import dataclasses
import shutil
from pathlib import Path

from wine_gpt import run_folder
from wine_gpt.config import PretrainConfig, RefitConfig
from wine_gpt.config_io import parse_config
from wine_gpt.errors import UserError
from wine_gpt.files import writing
from wine_gpt.processes import join_processes, main_process_first, shared_errors
from wine_gpt.training.pretrain import FinishedRun, TestedRun, pretrain
from wine_gpt.training.record import RunMetrics


def refit(config: RefitConfig) -> FinishedRun:
    """Train on all reviews of a tested run and write a run folder; the score in the result is the tested run's.

    Raises:
        UserError: for anything that the user can fix.
        RunInterrupted: if SIGTERM or Ctrl-C stopped the run, after a checkpoint was saved.
    """
    is_main_process = join_processes()
    with shared_errors():
        tested = TestedRun(Path(config.run), _require_tested(Path(config.run)))
        settings = _settings(config, tested)
        run_folder.require_apart(Path(settings.output_dir), tested.folder, "the tested run")
    main_process_first(lambda: _require_same_reviews(settings, tested))
    finished = pretrain(_without_held_out(settings), tested=tested)
    if is_main_process and (tested.folder / run_folder.EVALUATION).is_dir():
        copied = finished.folder / run_folder.EVALUATION
        with writing(finished.folder):
            shutil.copytree(tested.folder / run_folder.EVALUATION, copied, dirs_exist_ok=True)
    return finished


def _require_tested(folder: Path) -> RunMetrics:
    run_folder.require_pretrained(folder, "run")
    metrics = RunMetrics.load(folder)
    if metrics.refit is not None:
        raise UserError(f"run: {folder} is a refit itself: name the tested run, {metrics.refit.run}")
    if metrics.distillation is not None:
        raise UserError(
            f"run: {folder} was distilled from an ensemble, which a refit can't repeat: publish it as it is"
        )
    if metrics.training.best_epoch is None:
        raise UserError(f"run: {folder / run_folder.METRICS} has no best epoch: pretrain the run again")
    return metrics


def _settings(config: RefitConfig, tested: TestedRun) -> PretrainConfig:
    """Return the tested run's settings with the refit's epochs, tokenizer and folder."""
    of_run = parse_config(PretrainConfig, [str(tested.folder / run_folder.CONFIG)])
    epochs = tested.metrics.training.best_epoch
    assert epochs is not None
    # "." and ".." do not name the run's folder
    folder = tested.folder if tested.folder.name.strip(".") else tested.folder.resolve()
    return dataclasses.replace(
        of_run,
        data=config.data.apply_to(of_run.data),
        tokenizer=dataclasses.replace(of_run.tokenizer, path=str(tested.folder)),
        # the explorer shows each epoch's validation loss, which a refit has not
        training=dataclasses.replace(of_run.training, epochs=epochs, keep_epochs=False),
        output_dir=config.output_dir or f"{folder}-refit",
        resume=run_folder.LATEST if config.resume else None,
        overwrite=config.overwrite,
    )


def _require_same_reviews(settings: PretrainConfig, tested: TestedRun) -> None:
    # imported here, because it imports datasets
    from wine_gpt.data.reviews import load_recorded_reviews

    load_recorded_reviews(settings.data, tested.metrics.data_fingerprint, tested.folder)


def _without_held_out(settings: PretrainConfig) -> PretrainConfig:
    data = dataclasses.replace(settings.data, validation_fraction=0.0, test_fraction=0.0)
    return dataclasses.replace(settings, data=data)
