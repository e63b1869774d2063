"""Send a training to the trackers that ``training.trackers`` names: TensorBoard, trackio or Weights & Biases."""

import uuid
from pathlib import Path

from accelerate import Accelerator

from wine_gpt.config_io import to_flat
from wine_gpt.modeling.scoring import ValidationScore
from wine_gpt.training.record import EpochResult, TrainingState

PROJECT = "wine_gpt"


def start_trackers(accelerator: Accelerator, folder: Path, name: str, config: object, state: TrainingState) -> None:
    """Start a run in each tracker, or continue the run of a training that was resumed.

    Args:
        accelerator: its trackers of an earlier training are finished.
        folder: the folder that TensorBoard writes to.
        name: the run's name in trackio and Weights & Biases.
        config: a root config. Numbers stay numbers; lists and None become text, which all trackers take.
        state: the training's state, which gets the run's id.
    """
    finish_trackers(accelerator)
    if not accelerator.log_with:
        return
    is_resumed = bool(state.tracker_run)
    state.tracker_run = state.tracker_run or uuid.uuid4().hex[:8]
    accelerator.project_configuration.logging_dir = str(folder)
    settings = {
        key: value if isinstance(value, bool | int | float | str) else str(value)
        for key, value in to_flat(config).items()
    }
    # trackio continues the newest run of a name, Weights & Biases the run of an id
    runs = {
        "trackio": {"name": name, "resume": "allow" if is_resumed else "never"},
        "wandb": {"name": name, "id": state.tracker_run, "resume": "allow"},
    }
    accelerator.init_trackers(PROJECT, config=settings, init_kwargs=runs)


def finish_trackers(accelerator: Accelerator) -> None:
    """Finish the runs of all trackers, so that none of their figures is lost."""
    for tracker in accelerator.trackers:
        tracker.finish()
    accelerator.trackers.clear()


def log_epoch(accelerator: Accelerator, result: EpochResult) -> None:
    """Log an epoch's validation figures, if there are validation reviews, and its samples.

    The samples are a table where the tracker has tables, and otherwise texts.
    """
    if result.score.reviews:
        figures = {f"validation/{name}": value for name, value in result.score.figures().items()}
        accelerator.log(figures, step=result.step)
    rows = [[result.epoch, text] for text in result.samples]
    for tracker in accelerator.trackers:
        if hasattr(tracker, "log_table"):
            tracker.log_table("samples", columns=["epoch", "text"], data=rows, step=result.step)
        else:
            texts = {f"samples/{number}": text for number, text in enumerate(result.samples, start=1)}
            tracker.log(texts, step=result.step)


def log_results(accelerator: Accelerator, state: TrainingState, test: ValidationScore | None, **others: float) -> None:
    """Log a finished training's test figures, and the best epoch with its figures if there are validation reviews.

    Args:
        accelerator: its trackers are used.
        state: the training's state.
        test: the score on the test split; none without one.
        others: further figures of the test split, by name.
    """
    tested = {**(test.figures() if test else {}), **others}
    figures = {f"test/{name}": value for name, value in tested.items()}
    if (best := state.best) and best.score.reviews:
        figures["best_epoch"] = best.epoch
        figures |= {f"best/validation_{name}": value for name, value in best.score.figures().items()}
    accelerator.log(figures, step=state.step)
