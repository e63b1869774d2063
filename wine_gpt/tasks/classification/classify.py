"""Fine-tune a base model to find the label of a review from its description.

Reviews, splits and tokenizer are the base's, so the base has not seen the classifier's test reviews.
"""

import dataclasses
from pathlib import Path

import numpy as np
from accelerate import Accelerator
from accelerate.logging import get_logger
from datasets import Dataset, DatasetDict

from wine_gpt.config import FinetuneConfig, require
from wine_gpt.data.reviews import RUNNING_TEXT, Reviews, running_texts
from wine_gpt.finetuning.base import Base
from wine_gpt.finetuning.task_run import TaskRun, finish_task, require_held_out
from wine_gpt.modeling.pretrained import save_model
from wine_gpt.processes import main_process_first, shared_errors
from wine_gpt.tasks.classification.baselines import score_baselines
from wine_gpt.tasks.classification.labels import MOST_NUMBERS, Labels, find_labels, is_named, list_values
from wine_gpt.tasks.classification.objective import (
    Classification,
    ClassificationLoss,
    build_classifier,
)
from wine_gpt.tasks.classification.results import ClassifierMetrics, ClassifierScore
from wine_gpt.tokenizer import tokenize_splits
from wine_gpt.training.record import Environment
from wine_gpt.training.trainer import Trainer

logger = get_logger(__name__)


def classify(config: FinetuneConfig) -> ClassifierMetrics:
    """Fine-tune a classifier, unless it is finished, and return its metrics.

    Raises:
        UserError: for anything that the user can fix.
        RunInterrupted: after a checkpoint, on SIGTERM or Ctrl-C.
    """
    return finish_task(config, ClassifierRun)


def label_texts(reviews: Reviews, text_field: str, labels: Labels) -> tuple[Labels, DatasetDict]:
    """Return the labels and the running texts (the column :data:`RUNNING_TEXT`) of the reviews that have a label."""
    texts, ids = {}, {}
    for name, split in running_texts(reviews.splits, text_field).items():
        kept = np.flatnonzero(labels.ids[name] >= 0)
        texts[name] = split.select(kept)
        ids[name] = labels.ids[name][kept]
    return dataclasses.replace(labels, ids=ids), DatasetDict(texts)


class ClassifierRun(TaskRun[ClassifierMetrics]):
    """The fine-tuning of a classifier.

    Args:
        base: the model to fine-tune.
        reviews: the base's reviews.
        config: see :class:`FinetuneConfig`.
        accelerator: for the device, the index of this process and the number of processes.
    """

    metrics_class = ClassifierMetrics

    def __init__(self, base: Base, reviews: Reviews, config: FinetuneConfig, accelerator: Accelerator) -> None:
        names = ("task", "label", "bands", "min_reviews")
        settings = {name: getattr(config, name) for name in names}
        super().__init__(Path(config.output_dir), base, config, accelerator, settings)
        self.label = str(config.label)
        with shared_errors():
            labels = find_labels(reviews.splits, self.label, config.min_reviews, config.bands)
            has_bands = labels.banded or config.bands == FinetuneConfig.bands
            few = f"the column {self.label} does not have more than {MOST_NUMBERS} numbers: leave it out"
            require(has_bands, "bands", config.bands, few)
            self.labels, self.texts = label_texts(reviews, base.template.text_field, labels)
            require_held_out(self.texts, f"a label of the column {self.label}")

    def run(self) -> ClassifierMetrics:
        """Train, score and save the classifier."""
        labels, texts = self.labels, self.texts
        logger.info(_describe(self.label, labels, self.config.min_reviews))
        tokenized = main_process_first(lambda: tokenize_splits(texts, self.base.tokenizer, RUNNING_TEXT))
        model = build_classifier(self.base.load_model(), labels.names, self.base.tokenizer, self.config.training.seed)
        objective = Classification(model, self.base.tokenizer, tokenized, labels.ids, labels.ordered)
        trainer = self.make_trainer(objective)
        test, validation = self.train(trainer, lambda name: objective.score(tokenized[name], name, self.accelerator))
        return self.save_on_main_process(lambda: self._save(trainer, test, validation))

    def _save(
        self, trainer: Trainer[ClassificationLoss], test: ClassifierScore, validation: ClassifierScore
    ) -> ClassifierMetrics:
        """Write the model and its config, and return the metrics."""
        labels, texts = self.labels, self.texts
        model = trainer.module.model
        save_model(self.folder, model, self.base.tokenizer)
        self.write_config(self.config)
        train, held_out = ((texts[name][RUNNING_TEXT][:], labels.ids[name]) for name in ("train", "test"))
        return ClassifierMetrics(
            label=self.label,
            classes=dict(zip(labels.names, labels.train_counts.tolist(), strict=True)),
            ordered=labels.ordered,
            left_out=labels.left_out,
            missing=labels.missing,
            base=self.base.reference,
            reviews={name: len(split) for name, split in texts.items()},
            test=test,
            validation=validation,
            baselines=score_baselines(train, held_out, len(labels.names), labels.ordered),
            named_in_text=named_in_text(texts["test"], labels),
            training=trainer.summary(),
            settings=self.resume_key,
            environment=Environment.of(self.accelerator.device),
            parameters=model.num_parameters(),
        )


def named_in_text(test: Dataset, labels: Labels) -> float:
    """Return the fraction of the test reviews whose text names their label; see :func:`is_named`."""
    pairs = zip(test[RUNNING_TEXT][:], labels.ids["test"].tolist(), strict=True)
    return sum(is_named(labels.names[number], text) for text, number in pairs) / len(test)


def _describe(label: str, labels: Labels, min_reviews: int) -> str:
    counts = labels.train_counts
    lines = [f"label {label}: {len(labels.names):,} classes, {counts.sum():,} training reviews"]
    if labels.left_out:
        rule = f"fewer than {min_reviews:,} training reviews (counts of all splits)"
        lines.append(f"left out, with {rule}: {list_values(labels.left_out)}")
    if labels.missing:
        lines.append(f"left out, without a {label}: {labels.missing:,} reviews")
    return "; ".join(lines)
