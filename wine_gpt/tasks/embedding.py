"""Fine-tune a base model for embeddings of descriptions, and save it as a model of sentence-transformers.

Reviews, splits and tokenizer are the base's, so the base has not seen the test reviews either.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator

from wine_gpt.config import FinetuneConfig
from wine_gpt.data.reviews import RUNNING_TEXT, Reviews, running_texts
from wine_gpt.files import JsonObject, JsonRecord
from wine_gpt.finetuning.base import Base
from wine_gpt.finetuning.results import BaseReference
from wine_gpt.finetuning.task_run import TaskRun, finish_task, require_held_out
from wine_gpt.installation import require_package
from wine_gpt.modeling.pretrained import quiet_transformers, save_model
from wine_gpt.processes import main_process_first, shared_errors
from wine_gpt.tasks.contrastive import (
    HALVES_VERSION,
    Contrastive,
    ContrastiveLoss,
    ContrastiveScore,
    with_two_tokens,
)
from wine_gpt.tasks.similarity import load_sentence_model
from wine_gpt.tokenizer import tokenize_splits
from wine_gpt.training.record import Environment, TrainingSummary
from wine_gpt.training.step import count_micro_batches
from wine_gpt.training.trainer import Trainer


@dataclass(frozen=True)
class EmbeddingMetrics(JsonRecord):
    """The metrics file of a model for embeddings.

    Attributes:
        base: the model that was fine-tuned.
        test: score on the test split.
        validation: score on the validation split.
        training: see :class:`TrainingSummary`; its ``epochs`` have nats per review.
        settings: the settings that must be equal on resume, by dotted key.
        environment: see :class:`Environment`.
    """

    base: BaseReference
    test: ContrastiveScore
    validation: ContrastiveScore
    training: TrainingSummary
    settings: JsonObject
    environment: Environment


def finetune_embeddings(config: FinetuneConfig) -> EmbeddingMetrics:
    """Fine-tune a model for embeddings, unless it is finished, and return its metrics.

    Raises:
        UserError: for anything that the user can fix.
        RunInterrupted: after a checkpoint, on SIGTERM or Ctrl-C.
    """
    require_package("sentence_transformers", "similarity", "an embedding")
    return finish_task(config, EmbeddingRun)


class EmbeddingRun(TaskRun[EmbeddingMetrics]):
    """The fine-tuning of a model for embeddings.

    Args:
        base: the model to fine-tune.
        reviews: the base's reviews.
        config: see :class:`FinetuneConfig`.
        accelerator: for the device, the index of this process and the number of processes.
    """

    metrics_class = EmbeddingMetrics

    def __init__(self, base: Base, reviews: Reviews, config: FinetuneConfig, accelerator: Accelerator) -> None:
        # the loss depends on the micro-batches, because the reviews of one are each other's negatives
        micro_batches = count_micro_batches(config.training, accelerator)
        step = {"training.micro_batches": micro_batches, "halves_version": HALVES_VERSION}
        super().__init__(Path(config.output_dir), base, config, accelerator, {"task": config.task}, step)
        texts = running_texts(reviews.splits, base.template.text_field)
        self.tokenized = with_two_tokens(
            main_process_first(lambda: tokenize_splits(texts, base.tokenizer, RUNNING_TEXT))
        )
        with shared_errors():
            require_held_out(self.tokenized, "a description of two tokens")

    def run(self) -> EmbeddingMetrics:
        """Train, score and save the model."""
        objective = Contrastive(self.base.load_model().transformer, self.base.tokenizer, self.tokenized)
        trainer = self.make_trainer(objective)
        test, validation = self.train(trainer, lambda name: objective.score(self.tokenized[name], self.accelerator))
        return self.save_on_main_process(lambda: self._save(trainer, test, validation))

    def _save(
        self, trainer: Trainer[ContrastiveLoss], test: ContrastiveScore, validation: ContrastiveScore
    ) -> EmbeddingMetrics:
        """Write the model and its config, and return the metrics."""
        save_sentence_model(self.folder, trainer, self.base)
        self.write_config(self.config)
        return EmbeddingMetrics(
            base=self.base.reference,
            test=test,
            validation=validation,
            training=trainer.summary(),
            settings=self.resume_key,
            environment=Environment.of(self.accelerator.device),
        )


def save_sentence_model(folder: Path, trainer: Trainer[ContrastiveLoss], base: Base) -> None:
    """Save the trained GPT-2 as a model of sentence-transformers whose embeddings have length 1."""
    from sentence_transformers.sentence_transformer.modules import Normalize

    with tempfile.TemporaryDirectory() as temporary:
        save_model(Path(temporary), trainer.module.model, base.tokenizer)
        model = load_sentence_model(Path(temporary))
        model.append(Normalize())
        with quiet_transformers():
            model.save_pretrained(str(folder), create_model_card=False)
