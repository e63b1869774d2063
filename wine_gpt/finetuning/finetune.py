"""A base model and the reviews of one value, such as Pinot Noir, to a model of its own: an adapter or all weights.

Reviews, splits and tokenizer are the base's: what one value's model learns from is what the base learned from, and
neither has seen the test part.
"""

import contextlib
import dataclasses
import importlib.util
import json
import shutil
import time
import typing
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from datasets import Dataset, DatasetDict, concatenate_datasets
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast, set_seed

from wine_gpt import run_folder
from wine_gpt.config import DataConfig, FinetuneConfig, LoraConfig, PretrainConfig
from wine_gpt.config_io import parse_config, to_flat, to_yaml
from wine_gpt.data.batching import Indices
from wine_gpt.data.reviews import Reviews, load_reviews
from wine_gpt.data.subsets import Subset, choose_subsets, find_subsets
from wine_gpt.data.template import ReviewTemplate
from wine_gpt.errors import UserError, one_line
from wine_gpt.evaluation.generated import ReviewGenerator, longest_description, read_reviews
from wine_gpt.evaluation.sections import copying
from wine_gpt.files import sha256, write_atomically, write_json
from wine_gpt.finetuning.comparison import compare, save_table
from wine_gpt.modeling.pretrained import load_model, save_model
from wine_gpt.modeling.scoring import Score, Sums, score_reviews
from wine_gpt.run_folder import data_settings
from wine_gpt.tokenizer import load_tokenizer, tokenize_splits
from wine_gpt.training import checkpoint, record
from wine_gpt.training.pretrain import make_accelerator, resume, settings_fixed_on_resume, summarize
from wine_gpt.training.trainer import Trainer, describe_mismatch, trained_weights

# shares of what was learned that are tried on the validation part; 0 is the base
ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
# most reviews that a model writes to see what it copies, and how many of them at once
COPY_CHECK_TEXTS, AT_ONCE = 100, 50
WEIGHTS = {"lora": run_folder.ADAPTER_WEIGHTS, "full": run_folder.WEIGHTS}


@dataclass(frozen=True)
class Base:
    """A pretrained run.

    ``path`` is its folder as it was named, ``data`` what its reviews are, ``fingerprint`` theirs, ``sha256`` that of
    its weights' file.
    """

    path: str
    data: DataConfig
    fingerprint: str
    sha256: str
    tokenizer: PreTrainedTokenizerFast

    @property
    def template(self) -> ReviewTemplate:
        """The form of the base's texts."""
        return ReviewTemplate.from_config(self.data)


def finetune(config: FinetuneConfig) -> list[dict[str, Any]]:
    """Fine-tune a model for each value that is asked for, unless it is finished; return the metrics of each.

    Each gets a folder in ``output_dir``, and the table over all that are there is written anew.

    Raises:
        UserError: for anything that the user can put right.
        Stopped: after a checkpoint, when SIGTERM or Ctrl-C came.
    """
    base = load_base(config.base)
    if config.method == "lora":
        require_peft()
    folder = Path(config.output_dir)
    accelerator = make_accelerator(config.training, folder)
    with accelerator.main_process_first():
        reviews = load_base_reviews(base, config)
    subsets, left_out = choose_subsets(
        find_subsets(reviews.splits, config.field), config.field, str(config.requested), config.min_reviews
    )
    for value, problem in left_out.items():
        accelerator.print(f"left out: {config.field} {value}: {problem}")
    with accelerator.main_process_first():
        tokenized = tokenize_splits(reviews.splits, base.tokenizer)
    runs = [
        SubsetRun(base, subset, select(reviews.splits, subset), select(tokenized, subset), config, accelerator)
        for subset in subsets
    ]
    for run in runs if accelerator.is_main_process else ():
        run.require_ready()
    accelerator.wait_for_everyone()
    metrics = []
    for number, run in enumerate(runs, start=1):
        count = f"{run.subset.reviews:,} reviews"
        accelerator.print(f"{config.field} {run.subset.value} ({number} of {len(runs)}): {count}")
        metrics.append(run.finish())
        if accelerator.is_main_process:
            save_table(folder)
    accelerator.end_training()
    return metrics


def require_peft() -> None:
    """Check that adapters can be made.

    Raises:
        UserError: that says what to install.
    """
    try:
        import peft  # noqa: F401
    except ImportError as error:
        advice = 'pip install "wine_gpt[adapters]", or take --method full'
        raise UserError(f"method lora needs peft ({one_line(error)}): {advice}") from error


def load_base(path: str) -> Base:
    """Read what a finished pretraining left, all but the weights.

    Raises:
        UserError: if it is no finished run of ``scripts/pretrain.py``.
    """
    folder = Path(path)
    for name in (run_folder.CONFIG, run_folder.METRICS, WEIGHTS["full"]):
        if not (folder / name).is_file():
            raise UserError(f"base: {path} is no finished run of scripts/pretrain.py: it has no {name}")
    try:
        fingerprint = json.loads((folder / run_folder.METRICS).read_text(encoding="utf-8"))["data_fingerprint"]
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"base: {folder / run_folder.METRICS} has no data_fingerprint: pretrain the base again"
        ) from None
    data = parse_config(PretrainConfig, [], defaults=data_settings(path)).data
    return Base(path, data, fingerprint, sha256(folder / WEIGHTS["full"]), load_tokenizer(path))


def load_base_reviews(base: Base, config: FinetuneConfig) -> Reviews:
    """Load the reviews that the base was trained on, in its splits.

    Raises:
        UserError: if they can't be read, or are others.
    """
    given = {name: value for name, value in dataclasses.asdict(config.data).items() if value is not None}
    reviews = load_reviews(dataclasses.replace(base.data, **given))
    if reviews.fingerprint != base.fingerprint:
        raise UserError(
            f"data: {reviews.report.source} is not what {base.path} was trained on: its reviews have the fingerprint "
            f"{reviews.fingerprint}, the base's {base.fingerprint}; name the base's with --data.path"
        )
    return reviews


def select(splits: DatasetDict, subset: Subset) -> DatasetDict:
    """Return the group's part of each split."""
    return DatasetDict({name: split.select(subset.indices[name]) for name, split in splits.items()})


def build_adapter(model: GPT2LMHeadModel, config: LoraConfig, seed: int) -> GPT2LMHeadModel:
    """Put a LoRA adapter into a model, which it leaves frozen; at first it changes nothing.

    Raises:
        UserError: if the model has no such layers.
    """
    import peft

    set_seed(seed)
    settings = peft.LoraConfig(
        task_type=peft.TaskType.CAUSAL_LM,
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=list(config.targets),
        # GPT-2 keeps its matrices the other way round
        fan_in_fan_out=True,
    )
    try:
        with warnings.catch_warnings():
            # peft reads a property that transformers is about to rename
            warnings.simplefilter("ignore", FutureWarning)
            # a PeftModel passes on all that is asked of it
            return typing.cast(GPT2LMHeadModel, peft.get_peft_model(model, settings))
    except ValueError as error:
        raise UserError(f"lora.targets: {one_line(error)}") from error


def header_words(reviews: Dataset, template: ReviewTemplate, tokenizer: PreTrainedTokenizerFast) -> Indices:
    """Return how many words, prefix and colons included, stand before each review's running text."""
    return np.array([template.header_length(record, tokenizer) for record in reviews], np.int64)


def choose_alpha(trainer: Trainer, start: checkpoint.Tensors, headers: Indices) -> dict[float, dict[str, float]]:
    """Keep that share of what was learned which does best on the validation part, the running text being no worse.

    Few reviews teach a model too much of themselves; on the way from the base to it is often a better one, as in
    Wortsman et al. 2022, "Robust fine-tuning of zero-shot models".

    Args:
        trainer: its model has the learned weights, and those that are kept afterwards.
        start: the weights before the training: what a share of 0 is.
        headers: of each validation review, the words before its running text.

    Returns:
        share to validation nats per word of whole reviews (``whole``) and after the header (``text``).
    """
    weights = trained_weights(trainer.module.model)
    learned = {name: tensor.clone() for name, tensor in weights.items()}

    def keep(share: float) -> None:
        for name, tensor in weights.items():
            # an adapter's update is the product B·A, which is scaled by scaling B
            if ".lora_A." not in name:
                tensor.copy_(torch.lerp(start[name], learned[name], share))

    losses = {}
    for share in ALPHAS:
        keep(share)
        whole, text = score_parts(trainer, trainer.validation_split, headers)
        losses[share] = {"whole": Score.of(whole).nats_per_word, "text": Score.of(text).nats_per_word}
    keep(best_alpha(losses))
    return losses


def best_alpha(losses: dict[float, dict[str, float]]) -> float:
    """Return the share with the lowest loss of whole reviews among those whose running text is no worse than at 0."""
    no_worse = [share for share, loss in losses.items() if loss["text"] <= losses[0.0]["text"]]
    return min(no_worse, key=lambda share: losses[share]["whole"])


def score_parts(trainer: Trainer, split: Dataset, headers: Indices) -> tuple[Sums, Sums]:
    """Score each review of a split with the trainer's model: as a whole, and the running text after its header."""
    given = (trainer.module, split, trainer.tokenizer, trainer.accelerator)
    return score_reviews(*given), score_reviews(*given, headers)


class SubsetRun:
    """One value's way from the base to a finished folder below ``output_dir``.

    Args:
        base: what is fine-tuned.
        group: the value and the places of its reviews.
        reviews: its part of each split.
        splits: the same, tokenized.
        config: see :class:`FinetuneConfig`.
        accelerator: says which process this is, and on which device.
    """

    def __init__(
        self,
        base: Base,
        subset: Subset,
        reviews: DatasetDict,
        splits: DatasetDict,
        config: FinetuneConfig,
        accelerator: Accelerator,
    ) -> None:
        self.base = base
        self.subset = subset
        self.splits = splits
        self.reviews = reviews
        self.config = config
        self.accelerator = accelerator
        self.folder = Path(config.output_dir) / subset.slug
        self.resume_key = {
            **settings_fixed_on_resume(config, accelerator.mixed_precision),
            **{"method": config.method, "field": config.field, "value": subset.value},
            **{"base": base.sha256, "data": base.fingerprint},
        }

    def require_ready(self) -> None:
        """Check, before anything is written, that the folder holds nothing that would be lost or mistaken for this.

        Raises:
            UserError: that says what it holds and how to go on or to start over.
        """
        if self.config.resume:
            self._finished()
        elif not self.config.overwrite:
            run_folder.require_free(self.folder)

    def finish(self) -> dict[str, Any]:
        """Train from the newest checkpoint, if there is one, to the end; or read what is finished already."""
        metrics = self._finished() if self.config.resume else None
        if metrics is not None:
            self.accelerator.print("finished already")
            return metrics
        with run_folder.locked(self.folder) if self.accelerator.is_main_process else contextlib.nullcontext():
            metrics = self._train()
        if self.accelerator.is_main_process:
            # of use to an unfinished run only, and larger than what it made
            shutil.rmtree(self.folder / run_folder.CHECKPOINTS)
        self.accelerator.free_memory()
        return metrics

    def _finished(self) -> dict[str, Any] | None:
        """Return the metrics of a finished run with the same settings, none if it is unfinished."""
        file = self.folder / run_folder.METRICS
        if not file.exists():
            return None
        metrics: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if others := describe_mismatch(metrics["settings"], self.resume_key, "then"):
            raise UserError(
                f"{self.folder} was finished with other settings: {others}; "
                "name another --output_dir, or --overwrite to start over"
            )
        return metrics

    def _train(self) -> dict[str, Any]:
        started = time.monotonic()
        config = self.config
        trainer = self._trainer()
        start = {name: tensor.clone() for name, tensor in trained_weights(trainer.module.model).items()}
        test = (trainer, self.splits["test"], self._headers("test"))
        base_sums = score_parts(*test)
        if config.resume:
            resume(trainer, "latest")
        seconds_before = trainer.state.seconds
        if self.accelerator.is_main_process:
            if config.overwrite:
                run_folder.remove_run(self.folder)
            run_folder.mark_unfinished(self.folder)
        self._track()
        trainer.run()
        validation = choose_alpha(trainer, start, self._headers("validation"))
        metrics = {
            "field": config.field,
            "value": self.subset.value,
            "method": config.method,
            "base": {"path": self.base.path, "weights_sha256": self.base.sha256},
            "reviews": {name: len(split) for name, split in self.splits.items()},
            **compare(base_sums, score_parts(*test), config.training.seed),
            "training": {
                **summarize(trainer).to_dict(),
                "share": best_alpha(validation),
                "validation_by_share": {str(share): loss for share, loss in validation.items()},
            },
            "settings": self.resume_key,
            "environment": record.Environment.of(self.accelerator.device).to_dict(),
        }
        self.accelerator.print(_summary(metrics))
        if self.accelerator.is_main_process:
            self._save(trainer.module.model)
            metrics["copying"] = self._copying(trainer.module.model)
            metrics["seconds"] = round(seconds_before + time.monotonic() - started, 1)
            metrics["size_bytes"] = (self.folder / WEIGHTS[config.method]).stat().st_size
            write_json(self.folder / run_folder.METRICS, metrics)
        return metrics

    def _trainer(self) -> Trainer:
        model = typing.cast(GPT2LMHeadModel, load_model(self.base.path))
        if self.config.method == "lora":
            model = build_adapter(model, self.config.lora, self.config.training.seed)
        return Trainer(
            model,
            self.base.tokenizer,
            self.splits,
            self.config.training,
            self.accelerator,
            checkpoints=self.folder / run_folder.CHECKPOINTS,
            prompt=self.base.template.prefix,
            resume_key=self.resume_key,
        )

    def _headers(self, split: str) -> Indices:
        return header_words(self.reviews[split], self.base.template, self.base.tokenizer)

    def _copying(self, model: GPT2LMHeadModel) -> dict[str, float]:
        """Return the mean longest span, in words, that descriptions share with the value's training reviews.

        ``generated`` is of those that the model writes behind the headers of unseen reviews, ``real`` of the unseen
        ones themselves. Empty without the package ``evaluate``.
        """
        if importlib.util.find_spec("evaluate") is None:
            return {}
        unseen = concatenate_datasets([self.reviews["test"], self.reviews["validation"]])
        real = read_reviews(unseen.select(range(min(len(unseen), COPY_CHECK_TEXTS))), self.base.template)
        generator = ReviewGenerator(model, self.base.tokenizer, AT_ONCE, self.config.training.seed, {})
        longest = longest_description(real, self.base.tokenizer)
        written = {
            "generated": generator.continuations(real.headers, longest, "writing reviews"),
            "real": real.descriptions,
        }
        train = read_reviews(self.reviews["train"], self.base.template).descriptions
        return {kind: copying(found, train).mean_longest for kind, found in written.items()}

    def _save(self, model: GPT2LMHeadModel) -> None:
        # peft would look up the base on the Hub to see whether its vocabulary has grown
        settings = {"save_embedding_layers": False} if self.config.method == "lora" else {}
        save_model(self.folder, model, self.base.tokenizer, **settings)
        self.base.template.save(self.folder)
        own = dataclasses.replace(self.config, value=self.subset.value, variety=None)
        write_atomically(self.folder / run_folder.FINETUNE_CONFIG, to_yaml(own))

    def _track(self) -> None:
        # each value is a run of its own
        for tracker in self.accelerator.trackers:
            tracker.finish()
        self.accelerator.trackers.clear()
        settings = {key: str(value) for key, value in to_flat(self.config).items()}
        self.accelerator.init_trackers(self.subset.slug, config=settings)


def _summary(metrics: dict[str, Any]) -> str:
    change, text = metrics["perplexity_change"], metrics["after_header"]["perplexity_change"]
    return (
        f"test: perplexity {metrics['base_test']['perplexity']:.1f} -> {metrics['test']['perplexity']:.1f} "
        f"({change['value']:+.1%}; after the header {text['value']:+.1%}), "
        f"{metrics['training']['share']:.0%} of what was learned is kept"
        f"{'' if metrics['better'] else '; no better than the base'}"
    )
