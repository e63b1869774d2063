"""Train an ensemble, and train one model on its mean prediction of synthetic reviews, beside the real ones."""

import functools
from collections.abc import Callable
from pathlib import Path

from accelerate import Accelerator
from accelerate.logging import get_logger
from datasets import Dataset

from wine_gpt import run_folder
from wine_gpt.config import DistillConfig
from wine_gpt.distillation.ensemble import Ensemble, load_ensemble
from wine_gpt.distillation.members import train_members
from wine_gpt.distillation.targets import Request, TargetStore, load_or_make
from wine_gpt.files import JsonObject, read_json, sha256, write_json, writing
from wine_gpt.modeling.scoring import score
from wine_gpt.processes import main_process_first, on_main_process, shared_errors
from wine_gpt.tokenizer.files import fingerprint
from wine_gpt.tokenizer.prepared import PreparedReviews
from wine_gpt.training.accelerator import accelerator_session, require_equal_settings
from wine_gpt.training.pretrain import FinishedRun, Teacher, pretrain
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
        teacher = Teacher(teacher_settings(config.distillation), functools.partial(_teach, config))
        return pretrain(config.student, teacher=teacher, accelerator=accelerator)


def _teach(
    config: DistillConfig, data: PreparedReviews, accelerator: Accelerator, check: Callable[[JsonObject], None]
) -> tuple[JsonObject, TargetStore, Distillation]:
    """Train the members that are not finished, and predict synthetic reviews; see :class:`Teacher`."""
    members = train_members(config, accelerator)
    logger.info(f"distilled model: {config.output_dir}")
    settings, tokenizer, real = config.distillation, data.tokenizer, data.splits["train"]
    # at least one review, because a small ratio of few reviews would leave nothing to learn
    in_set = max(round(settings.synthetic_ratio * len(real)), 1)
    request = Request(
        sources={
            "data": data.fingerprint,
            "tokenizer": fingerprint(tokenizer),
            "members": [sha256(member / run_folder.WEIGHTS) for member in members],
        },
        synthetic_reviews=settings.synthetic_sets * in_set,
        seed=config.training.seed,
    )
    resume_values = {"targets": request.fingerprint, "distillation.synthetic_sets": settings.synthetic_sets}
    # before the targets are replaced, because a checkpoint may need them
    check(resume_values)
    # this process has imported datasets, so it has read the reviews itself
    assert isinstance(real, Dataset)
    with shared_errors():
        ensemble = load_ensemble(members, tokenizer).to(accelerator.device)
    folder = Path(config.output_dir) / run_folder.TARGETS
    main_process_first(lambda: load_or_make(folder, request, ensemble, tokenizer, real, accelerator))
    store = TargetStore(folder, real, config.model.block_size, settings.synthetic_sets)
    losses = _score_once(folder / ENSEMBLE, ensemble, data, accelerator)
    found = ", ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
    logger.info(f"ensemble of {len(members)} members: {found} nats per word; the student approximates it")
    distillation = Distillation(
        members=[MemberLoss.of(member.name, RunMetrics.load(member)) for member in members],
        ensemble=MemberLoss("ensemble", losses.get("validation"), losses.get("test")),
        synthetic_reviews=request.synthetic_reviews,
        settings=settings,
    )
    return resume_values, store, distillation


def _score_once(file: Path, ensemble: Ensemble, data: PreparedReviews, accelerator: Accelerator) -> dict[str, float]:
    """Return the ensemble's loss on each held-out split, from the file that an earlier start wrote if it is there."""
    saved = on_main_process(lambda: read_json(file) if file.exists() else None)
    if saved is not None:
        return saved
    losses = {
        name: score(ensemble, data.splits[name], data.tokenizer, accelerator).nats_per_word
        for name in ("validation", "test")
        if len(data.splits[name])
    }

    def save() -> None:
        with writing(file.parent):
            write_json(file, losses)

    on_main_process(save)
    return losses
