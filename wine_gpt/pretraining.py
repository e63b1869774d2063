"""From a config to a finished run: data, tokenizer, model, training, figures."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from accelerate import Accelerator
from transformers import PreTrainedTokenizerFast

from wine_gpt import checkpoint, outputs
from wine_gpt.batching import reviews_cut
from wine_gpt.config import PretrainConfig, to_yaml
from wine_gpt.data import Reviews, load_reviews, texts
from wine_gpt.errors import UserError
from wine_gpt.model import build_model
from wine_gpt.scoring import Score, score
from wine_gpt.tokenizer import load_tokenizer, save_tokenizer, tokenize_splits, train_tokenizer
from wine_gpt.training import Trainer, TrainingState

# settings that may differ when a run is resumed, since they don't change what it computes;
# the data are compared by content, not by path
FREE_SETTINGS = ("path", "trackers", "keep_checkpoints", "checkpoint_steps", "micro_batches")


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
    accelerator = Accelerator(
        mixed_precision=config.training.mixed_precision,
        log_with=config.training.tracker_names or None,
        project_dir=folder,
    )
    if accelerator.is_main_process:
        outputs.claim(folder, resume=config.resume is not None, overwrite=config.overwrite)
    accelerator.wait_for_everyone()
    with accelerator.main_process_first():
        reviews = load_reviews(config.data)
    accelerator.print(reviews.report)
    _require_validation(reviews)
    tokenizer = _tokenizer(config, reviews, folder, accelerator)
    with accelerator.main_process_first():
        splits = tokenize_splits(reviews.splits, tokenizer)
    model = build_model(config.model, tokenizer, config.training.seed)
    tokenizer.model_max_length = config.model.block_size
    trainer = Trainer(
        model,
        tokenizer,
        splits,
        config.training,
        accelerator,
        checkpoints=folder / outputs.CHECKPOINTS,
        prompt=config.data.prefix,
        identity=_identity(config, reviews, tokenizer),
    )
    if config.resume:
        _resume(trainer, config.resume)
    accelerator.print(
        f"model: {model.num_parameters():,} parameters, {len(tokenizer):,} words; "
        f"{trainer.plan.total_steps:,} steps on {accelerator.num_processes} x {accelerator.device.type}"
    )
    accelerator.init_trackers("wine_gpt", config=yaml.safe_load(to_yaml(config)))
    state = trainer.run()
    scores = {
        name: score(trainer.module, splits[name], tokenizer, accelerator)
        for name in ("validation", "test")
        if len(splits[name])
    }
    if accelerator.is_main_process:
        outputs.save_model(folder, model, tokenizer)
        outputs.save_samples(folder, state)
        outputs.save_loss_curve(folder, state)
        reviews.report.save(folder / "data_report.json")
        checkpoint.write_atomically(folder / "config.yaml", to_yaml(config))
        outputs.save_metrics(folder, _metrics(trainer, state, scores))
    accelerator.end_training()
    return FinishedRun(folder, scores.get("test", scores["validation"]))


def _require_validation(reviews: Reviews) -> None:
    if not len(reviews.splits["validation"]):
        raise UserError(
            f"data: none of the {len(reviews.splits['train']):,} reviews fell into the validation split: "
            "raise data.validation_fraction or use more data"
        )


def _tokenizer(
    config: PretrainConfig, reviews: Reviews, folder: Path, accelerator: Accelerator
) -> PreTrainedTokenizerFast:
    """Load the tokenizer that is named, or train one on the train split and save it with the run."""
    if config.tokenizer.path is not None:
        return load_tokenizer(config.tokenizer.path)
    if accelerator.is_main_process:
        trained = train_tokenizer(
            texts(reviews.splits["train"]),
            config.tokenizer.vocab_size,
            prefix=config.data.prefix,
            header_fields=len(config.data.prompt_fields),
        )
        save_tokenizer(trained, folder)
    accelerator.wait_for_everyone()
    return load_tokenizer(folder)


def _identity(config: PretrainConfig, reviews: Reviews, tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """Return what must be equal for a checkpoint to be gone on from."""
    sections = yaml.safe_load(to_yaml(config))
    settings = {
        f"{section}.{name}": value
        for section in ("data", "tokenizer", "model", "training")
        for name, value in sections[section].items()
        if name not in FREE_SETTINGS
    }
    vocabulary = hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()
    return {**settings, "data": reviews.fingerprint, "tokenizer": vocabulary}


def _resume(trainer: Trainer, wanted: str) -> None:
    """Go on from the newest good checkpoint, or from the one named."""
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


def _metrics(trainer: Trainer, state: TrainingState, scores: dict[str, Score]) -> dict[str, Any]:
    return {
        **{name: result.to_dict() for name, result in scores.items()},
        "training": {
            "steps": state.step,
            "epochs": [{key: epoch[key] for key in ("epoch", "step", "nats_per_word")} for epoch in state.epochs],
            "best_epoch": state.best["epoch"] if state.best else None,
            "tokens": state.total_tokens,
            "seconds": round(state.seconds, 1),
            "tokens_per_second": round(state.total_tokens / state.seconds) if state.seconds else None,
            "padding_share": round(trainer.plan.padding_share(), 4),
            "reviews_cut": reviews_cut(trainer.train_split, trainer.block_size),
            "processes": trainer.accelerator.num_processes,
            "mixed_precision": trainer.accelerator.mixed_precision,
        },
        "parameters": trainer.module.model.num_parameters(),
        "peak_memory_bytes": outputs.peak_memory_bytes(),
        "environment": outputs.environment(trainer.accelerator.device),
    }
