"""From a config to a finished run: data, tokenizer, model, training, figures."""

import contextlib
import dataclasses
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.tracking import get_available_trackers
from accelerate.utils import DistributedDataParallelKwargs, parse_flag_from_env
from transformers import PreTrainedTokenizerFast

from wine_gpt import run_folder
from wine_gpt.config import PretrainConfig, TrainingConfig
from wine_gpt.config_io import to_flat, to_yaml
from wine_gpt.data.batching import reviews_cut
from wine_gpt.data.reviews import Reviews, load_reviews
from wine_gpt.data.template import ReviewTemplate
from wine_gpt.errors import UserError
from wine_gpt.files import write_atomically
from wine_gpt.modeling.gpt2 import build_model
from wine_gpt.modeling.loss import CHUNK_BYTES
from wine_gpt.modeling.pretrained import save_model
from wine_gpt.modeling.scoring import Score, score
from wine_gpt.tokenizer import load_tokenizer, tokenize_splits, train_on_reviews
from wine_gpt.training import checkpoint, record
from wine_gpt.training.calibration import calibrate
from wine_gpt.training.hardware import (
    choose_mixed_precision,
    enable_onednn_fp32,
    limit_onednn_cache,
    tune_malloc,
)
from wine_gpt.training.record import Environment, EpochLoss, PeakMemory, RunMetrics, TrainingSummary
from wine_gpt.training.trainer import Trainer

# of Accelerate's: they cut the model itself into pieces, which the checkpoints don't know how to put together
SHARDING = ("FSDP", "DEEPSPEED", "MEGATRON_LM")
# settings that may differ when a run is resumed, since they don't change what it computes;
# the data are compared by content, not by path
IGNORED_ON_RESUME = ("path", "trackers", "keep_checkpoints", "checkpoint_steps", "micro_batches")


@dataclass(frozen=True)
class FinishedRun:
    """Where a run ended, and its figures on the test split (validation where there is none)."""

    folder: Path
    score: Score


def pretrain(config: PretrainConfig) -> FinishedRun:
    """Train a model from scratch and leave a folder that ``from_pretrained`` and ``pipeline`` load.

    Raises:
        UserError: for anything that the user can put right.
    """
    folder = Path(config.output_dir)
    accelerator = make_accelerator(config.training, folder)
    with run_folder.locked(folder) if accelerator.is_main_process else contextlib.nullcontext():
        return _pretrain(config, folder, accelerator)


def _pretrain(config: PretrainConfig, folder: Path, accelerator: Accelerator) -> FinishedRun:
    if accelerator.is_main_process and not config.overwrite and config.resume is None:
        run_folder.require_free(folder)
    accelerator.wait_for_everyone()
    with accelerator.main_process_first():
        reviews = load_reviews(config.data)
    accelerator.print(reviews.report)
    _require_validation(reviews)
    tokenizer = _tokenizer(config, reviews)
    with accelerator.main_process_first():
        splits = tokenize_splits(reviews.splits, tokenizer)
    model = build_model(config.model, tokenizer, config.training.seed, config.generation)
    trainer = Trainer(
        model,
        tokenizer,
        splits,
        config.training,
        accelerator,
        checkpoints=folder / run_folder.CHECKPOINTS,
        prompt=config.data.prefix,
        resume_key=_resume_key(config, reviews, tokenizer, accelerator.mixed_precision),
    )
    if config.resume:
        resume(trainer, config.resume)
        if (folder / run_folder.METRICS).exists() and not 0 < trainer.state.step < trainer.plan.total_steps:
            raise UserError(run_folder.finished_message(folder))
    accelerator.wait_for_everyone()
    # only now, when nothing that a user may have got wrong can stop the run any more
    if accelerator.is_main_process:
        if config.overwrite:
            run_folder.remove_run(folder)
        run_folder.mark_unfinished(folder)
    accelerator.print(
        f"model: {model.num_parameters():,} parameters, {len(tokenizer):,} words; "
        f"{trainer.plan.total_steps:,} steps on {accelerator.num_processes} x {accelerator.device.type}"
    )
    # as text, since TensorBoard takes neither lists nor nothing
    accelerator.init_trackers("wine_gpt", config={key: str(value) for key, value in to_flat(config).items()})
    state = trainer.run()
    scale = calibrate(trainer.module, splits["validation"], tokenizer, accelerator)
    accelerator.print(f"calibrated on validation: logits x {scale:.2f}")
    scores = {
        name: score(trainer.module, splits[name], tokenizer, accelerator)
        for name in ("validation", "test")
        if len(splits[name])
    }
    if accelerator.is_main_process:
        save_model(folder, model, tokenizer)
        ReviewTemplate.from_config(config.data).save(folder)
        record.save_samples(folder, state)
        record.save_loss_curve(folder, state)
        reviews.report.save(folder / run_folder.DATA_REPORT)
        write_atomically(folder / run_folder.CONFIG, to_yaml(config))
        _metrics(trainer, scores, scale, reviews.fingerprint).save(folder)
    # what reduces gradients must go before the processes' group: if it held the group last, freeing it would wait for
    # a thread that waits for Python's lock
    del trainer
    accelerator.free_memory()
    accelerator.end_training()
    return FinishedRun(folder, scores.get("test", scores["validation"]))


def make_accelerator(config: TrainingConfig, folder: Path) -> Accelerator:
    """Join the launched processes, choose the precision and say so.

    Args:
        config: its precision and trackers.
        folder: where trackers write.

    Raises:
        UserError: if a tracker is not installed, or the device or the launch does not fit.
    """
    # accelerate would leave out a tracker that is not installed, without a word
    installed = [str(tracker) for tracker in get_available_trackers()]
    for name in config.tracker_names:
        if name not in installed:
            raise UserError(f'training.trackers: {name} is not installed: pip install "wine_gpt[tracking]"')
    for name in SHARDING:
        if parse_flag_from_env(f"ACCELERATE_USE_{name}"):
            raise UserError(
                f"accelerate's config asks for {name}, which is not supported: the model fits on any device, so take "
                "configs/accelerate/gpus.yaml or machines.yaml, where each has a copy"
            )
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    limit_onednn_cache()
    tune_malloc()
    mixed_precision = choose_mixed_precision(config.mixed_precision)
    # bf16 leaves it nothing to do
    products = enable_onednn_fp32() if mixed_precision == "no" else "torch's own"
    try:
        accelerator = Accelerator(
            mixed_precision=mixed_precision,
            log_with=config.tracker_names or None,
            project_dir=folder,
            # gradients are reduced where they are, not in copies
            kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=True)],
            # accelerate joins processes on the CPU only if told so; else each would train alone, in the same folder
            cpu=launched > 1 and not torch.accelerator.is_available(),
        )
    except ValueError as error:
        raise UserError(f"training.mixed_precision {mixed_precision}: {error}") from error
    if accelerator.num_processes != launched:
        raise UserError(f"{launched} processes were launched, but accelerate joined {accelerator.num_processes}")
    chunk = f"{CHUNK_BYTES >> 20} MiB of logits at a time"
    accelerator.print(f"precision: mixed {mixed_precision}, float32 products by {products}, {chunk}")
    return accelerator


def _require_validation(reviews: Reviews) -> None:
    if not len(reviews.splits["validation"]):
        raise UserError(
            f"data: none of the {len(reviews.splits['train']):,} reviews fell into the validation split: "
            "raise data.validation_fraction or use more data"
        )


def _tokenizer(config: PretrainConfig, reviews: Reviews) -> PreTrainedTokenizerFast:
    """Load the tokenizer that is named, or train one on the train split; all processes get the same."""
    if config.tokenizer.path is not None:
        tokenizer = load_tokenizer(config.tokenizer.path)
    else:
        tokenizer = train_on_reviews(reviews.splits["train"], config.data, config.tokenizer.vocab_size)
    tokenizer.model_max_length = config.model.block_size
    return tokenizer


def _resume_key(
    config: PretrainConfig, reviews: Reviews, tokenizer: PreTrainedTokenizerFast, mixed_precision: str
) -> dict[str, Any]:
    """Return what must be equal for a checkpoint to be gone on from."""
    vocabulary = hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()
    return {**settings_fixed_on_resume(config, mixed_precision), "data": reviews.fingerprint, "tokenizer": vocabulary}


def settings_fixed_on_resume(config: object, mixed_precision: str) -> dict[str, Any]:
    """Return the settings, by dotted key, of a root config's sections that decide what a run computes."""
    settings = {
        key: value
        for key, value in to_flat(config).items()
        if "." in key and not key.startswith("generation.") and key.rpartition(".")[2] not in IGNORED_ON_RESUME
    }
    # what auto stood for
    return {**settings, "training.mixed_precision": mixed_precision}


def resume(trainer: Trainer, wanted: str) -> None:
    """Go on from the newest good checkpoint ("latest"), or from the one named.

    Raises:
        UserError: if there are checkpoints but none is good, or it belongs to a run with other settings.
    """
    found: checkpoint.Checkpoint | None
    problems: list[str] = []
    if wanted == "latest":
        found, problems = checkpoint.load_newest(trainer.checkpoints)
    else:
        found = checkpoint.load(Path(wanted))
    for problem in problems:
        trainer.accelerator.print(f"skipped: {problem}")
    if found is None:
        trainer.accelerator.print(f"no checkpoint in {trainer.checkpoints} yet: starting at step 0")
        return
    trainer.resume(found)
    trainer.accelerator.print(f"resumed from step {found.step:,}")


def _metrics(trainer: Trainer, scores: dict[str, Score], scale: float, data_fingerprint: str) -> RunMetrics:
    return RunMetrics(
        validation=scores.get("validation"),
        test=scores.get("test"),
        data_fingerprint=data_fingerprint,
        training=dataclasses.replace(summarize(trainer), logit_scale=round(scale, 4)),
        parameters=trainer.module.model.num_parameters(),
        peak_memory=PeakMemory.of_this_process(),
        environment=Environment.of(trainer.accelerator.device),
    )


def summarize(trainer: Trainer) -> TrainingSummary:
    """Return how a finished training went, for a metrics file."""
    state = trainer.state
    return TrainingSummary(
        steps=state.step,
        epochs=[EpochLoss(epoch.epoch, epoch.step, epoch.score.nats_per_word) for epoch in state.epochs],
        best_epoch=state.best.epoch if state.best else None,
        tokens=state.total_tokens,
        seconds=round(state.seconds, 1),
        tokens_per_second=round(state.total_tokens / state.seconds) if state.seconds else None,
        padding_fraction=round(trainer.plan.padding_fraction(), 4),
        reviews_cut=reviews_cut(trainer.train_split, trainer.block_size),
        processes=trainer.accelerator.num_processes,
        mixed_precision=trainer.accelerator.mixed_precision,
        energy_kwh=state.energy_kwh,
    )
