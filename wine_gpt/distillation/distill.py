"""Train an ensemble, label reviews with its mean prediction, and train one model on them."""

import functools
from collections.abc import Sequence
from pathlib import Path

from accelerate import Accelerator
from accelerate.logging import get_logger
from accelerate.utils import broadcast_object_list
from datasets import Dataset

from wine_gpt import run_folder
from wine_gpt.config import DistillConfig
from wine_gpt.distillation.members import train_members
from wine_gpt.distillation.targets import Labeling, Request, TargetStore, load_or_make
from wine_gpt.distillation.teacher import load_ensemble
from wine_gpt.files import read_json, sha256, write_json, writing
from wine_gpt.modeling.scoring import score
from wine_gpt.processes import main_process_first, shared_errors
from wine_gpt.tokenizer.files import fingerprint
from wine_gpt.tokenizer.prepared import PreparedReviews
from wine_gpt.training.accelerator import accelerator_session, require_equal_settings
from wine_gpt.training.pretrain import FinishedRun, Teaching, TrainedTeacher, pretrain
from wine_gpt.training.record import Distillation, MemberLoss, RunMetrics, teacher_settings

logger = get_logger(__name__)

# the ensemble's losses, in the folder of the targets, which is replaced if a member changes
ENSEMBLE = "ensemble.json"


def distill(config: DistillConfig) -> FinishedRun:
    """Train the members that are not finished, then the student, and write its run folder.

    If the student is finished, its members and their predictions are not needed.

    Raises:
        UserError: for anything that the user can fix.
        RunInterrupted: if SIGTERM or Ctrl-C stopped a training, after a checkpoint was saved.
    """
    # one session for all trainings, because a launcher's processes hang if they are joined twice
    with accelerator_session(config.training, Path(config.output_dir)) as accelerator:
        require_equal_settings(config, accelerator)
        teaching = Teaching(teacher_settings(config.distillation), functools.partial(_train_teacher, config))
        return pretrain(config.student, teaching=teaching, accelerator=accelerator)


def _train_teacher(config: DistillConfig, data: PreparedReviews, accelerator: Accelerator) -> TrainedTeacher:
    """Train the members that are not finished."""
    members = train_members(config, accelerator)
    logger.info(f"distilled model: {config.output_dir}")
    settings = config.distillation
    made_from = {
        "data": data.fingerprint,
        "tokenizer": fingerprint(data.tokenizer),
        "members": [sha256(member / run_folder.WEIGHTS) for member in members],
    }
    real = len(data.splits["train"])
    # at least one review, because a small ratio of few reviews would leave nothing to learn
    in_set = max(round(settings.synthetic_ratio * real), 1) if settings.synthetic_ratio else 0
    synthetic = settings.synthetic_sets * in_set
    request = Request(made_from, synthetic, config.training.seed, label_real=settings.teacher_weight > 0)
    student = ("teacher_weight", "synthetic_sets")
    key = {"targets": request.fingerprint, **{f"distillation.{name}": getattr(settings, name) for name in student}}
    return TrainedTeacher(key, functools.partial(_predict, config, members, request, data, accelerator))


def _predict(
    config: DistillConfig,
    members: Sequence[Path],
    request: Request,
    data: PreparedReviews,
    accelerator: Accelerator,
) -> tuple[TargetStore, Distillation]:
    """Return the real and synthetic reviews with the targets that the members predict, and their record."""
    settings, real, tokenizer = config.distillation, data.splits["train"], data.tokenizer
    # this process has imported datasets, so it has read the reviews itself
    assert isinstance(real, Dataset)
    with shared_errors():
        ensemble = load_ensemble(members, tokenizer).to(accelerator.device)
    folder = Path(config.output_dir) / run_folder.TARGETS
    labeling = Labeling(ensemble, tokenizer, real, accelerator)
    main_process_first(lambda: load_or_make(folder, labeling, request))
    store = TargetStore(folder, real, config.model.block_size, settings.teacher_weight, settings.synthetic_sets)
    losses = _score_once(folder / ENSEMBLE, labeling, data)
    found = ", ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
    logger.info(f"ensemble of {len(members)} members: {found} nats per word; the student approximates it")
    record = Distillation(
        members=[MemberLoss.of(member.name, RunMetrics.load(member)) for member in members],
        ensemble=MemberLoss("ensemble", losses.get("validation"), losses.get("test")),
        synthetic_reviews=request.synthetic_reviews,
        settings=settings,
    )
    return store, record


def _score_once(file: Path, labeling: Labeling, data: PreparedReviews) -> dict[str, float]:
    """Return the ensemble's loss on each held-out split, from the file that an earlier start wrote if it is there."""
    accelerator = labeling.accelerator
    with shared_errors():
        saved = read_json(file) if accelerator.is_main_process and file.exists() else None
    losses: dict[str, float] | None = broadcast_object_list([saved])[0]
    if losses is not None:
        return losses
    losses = {
        name: score(labeling.ensemble, data.splits[name], labeling.tokenizer, accelerator).nats_per_word
        for name in ("validation", "test")
        if len(data.splits[name])
    }
    with shared_errors():
        if accelerator.is_main_process:
            with writing(file.parent):
                write_json(file, losses)
    return losses
