"""Train an ensemble, label reviews with its mean prediction, and train one model on them."""

import contextlib
import functools
from collections.abc import Sequence
from pathlib import Path

from accelerate import Accelerator
from accelerate.logging import get_logger
from datasets import DatasetDict
from transformers import PreTrainedTokenizerFast

from wine_gpt import run_folder
from wine_gpt.config import DistillConfig
from wine_gpt.data.reviews import Reviews
from wine_gpt.distillation.members import train_members
from wine_gpt.distillation.targets import Request, TargetStore, load_or_make
from wine_gpt.distillation.teacher import load_ensemble
from wine_gpt.files import sha256
from wine_gpt.modeling.scoring import score
from wine_gpt.processes import main_process_first, shared_errors
from wine_gpt.tokenizer.files import fingerprint
from wine_gpt.training.accelerator import accelerator_session, require_equal_settings
from wine_gpt.training.pretrain import FinishedRun, Teaching, pretrain
from wine_gpt.training.record import Distillation, MemberLoss, RunMetrics

logger = get_logger(__name__)


def distill(config: DistillConfig) -> FinishedRun:
    """Train the members that are not finished, then the student, and write its run folder.

    Raises:
        UserError: for anything that the user can fix.
        RunInterrupted: if SIGTERM or Ctrl-C stopped a training, after a checkpoint was saved.
    """
    folder = Path(config.output_dir)
    with contextlib.ExitStack() as stack:
        with shared_errors():
            # one session for all trainings, because a launcher's processes hang if they are joined twice
            accelerator = stack.enter_context(accelerator_session(config.training, folder))
        require_equal_settings(config, accelerator)
        with shared_errors():
            if accelerator.is_main_process and config.resume is None and not config.overwrite:
                run_folder.require_free(folder)
        members = train_members(config, accelerator)
        logger.info(f"distilled model: {folder}")
        return pretrain(config.student, teach=functools.partial(_teach, config, members), accelerator=accelerator)


def _teach(
    config: DistillConfig,
    members: Sequence[Path],
    reviews: Reviews,
    tokenizer: PreTrainedTokenizerFast,
    splits: DatasetDict,
    accelerator: Accelerator,
) -> Teaching:
    """Return the real and synthetic reviews with the targets that the members predict."""
    settings, real = config.distillation, splits["train"]
    with shared_errors():
        ensemble = load_ensemble(members, tokenizer).to(accelerator.device)
    made_from = {
        "data": reviews.fingerprint,
        "tokenizer": fingerprint(tokenizer),
        "members": [sha256(member / run_folder.WEIGHTS) for member in members],
    }
    synthetic = settings.synthetic_sets * round(settings.synthetic_ratio * len(real))
    request = Request(synthetic, config.training.seed, label_real=settings.teacher_weight > 0)
    folder = Path(config.output_dir) / run_folder.TARGETS
    main_process_first(lambda: load_or_make(folder, made_from, ensemble, tokenizer, real, request, accelerator))
    store = TargetStore(folder, real, config.model.block_size, settings.teacher_weight, settings.synthetic_sets)
    losses = {
        name: score(ensemble, splits[name], tokenizer, accelerator).nats_per_word
        for name in ("validation", "test")
        if len(splits[name])
    }
    found = ", ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
    logger.info(f"ensemble of {len(members)} members: {found} nats per word; the student approximates it")
    record = Distillation(
        members=[MemberLoss.of(member.name, RunMetrics.load(member)) for member in members],
        ensemble=MemberLoss("ensemble", losses.get("validation"), losses.get("test")),
        synthetic_reviews=synthetic,
        settings=settings,
    )
    student = ("teacher_weight", "synthetic_sets")
    key = {"targets": store.fingerprint, **{f"distillation.{name}": getattr(settings, name) for name in student}}
    return Teaching(store.reviews, store, store.rows_of_epoch, key, record)
