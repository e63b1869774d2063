"""Fine-tune a base model on one subset: train, interpolate, compare with the base, save."""

import dataclasses
import importlib.util
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.logging import get_logger
from datasets import concatenate_datasets
from transformers import GPT2LMHeadModel

from wine_gpt import run_folder
from wine_gpt.config import FinetuneConfig
from wine_gpt.data.subsets import Subset
from wine_gpt.errors import UserError
from wine_gpt.evaluation.generated import ReviewGenerator, longest_description, read_reviews, with_fitting_headers
from wine_gpt.evaluation.sections import copying
from wine_gpt.files import writing
from wine_gpt.finetuning.adapter import build_adapter, without_peft
from wine_gpt.finetuning.interpolation import keep_best_alpha
from wine_gpt.finetuning.objective import SubsetModeling
from wine_gpt.finetuning.results import Comparison, CopyCheck, SubsetMetrics
from wine_gpt.finetuning.subset_reviews import SubsetReviews
from wine_gpt.finetuning.task_run import TaskRun
from wine_gpt.modeling.loss import LanguageModelLoss
from wine_gpt.modeling.pretrained import save_model
from wine_gpt.processes import on_main_process
from wine_gpt.tokenizer.encoding import require_known_words
from wine_gpt.tokenizer.schemes import WORDS, kind_of
from wine_gpt.training.record import Environment
from wine_gpt.training.resume import trained_weights
from wine_gpt.training.trackers import log_results
from wine_gpt.training.trainer import Trainer

logger = get_logger(__name__)

# how many reviews are generated at most to measure copying, and the batch size
COPY_CHECK_TEXTS, COPY_CHECK_BATCH = 100, 50
WEIGHTS = {"lora": run_folder.ADAPTER_WEIGHTS, "full": run_folder.WEIGHTS}


class SubsetRun(TaskRun[SubsetMetrics]):
    """The fine-tuning of one subset, written to a subfolder of ``output_dir``.

    Args:
        reviews: the subset's reviews, and the model to fine-tune.
        config: see :class:`FinetuneConfig`.
        accelerator: for the device, the index of this process and the number of processes.
        later: the subsets that are fine-tuned after this one.
    """

    metrics_class = SubsetMetrics

    def __init__(
        self, reviews: SubsetReviews, config: FinetuneConfig, accelerator: Accelerator, later: Sequence[Subset] = ()
    ) -> None:
        subset = reviews.subset
        settings = {"method": config.method, "field": config.field, "value": subset.value}
        super().__init__(Path(config.output_dir) / subset.slug, reviews.base, config, accelerator, settings)
        self.subset = subset
        self.reviews = reviews
        self._replaced_later = [self.folder.parent / each.slug for each in later] if config.overwrite else []

    def require_ready(self) -> None:
        """Check, before anything is written, that the folder holds no other run and the subset can be scored.

        Raises:
            UserError: that names the other run and says how to resume or to start over, or names the subset.
        """
        try:
            require_known_words(self.reviews.tokenized, self.base.tokenizer)
        except UserError as error:
            raise UserError(f"{self.config.field} {self.subset.value}: {error}") from None
        super().require_ready()

    def start(self, trainer: Trainer[Any], name: str) -> None:
        """Do the same as :meth:`TaskRun.start`, and remove the runs that are overwritten later.

        So ``--resume`` after an interruption trains those subsets too, and a wrong setting removes no earlier run.
        """
        super().start(trainer, name)

        def remove() -> None:
            for folder in filter(Path.is_dir, self._replaced_later):
                with run_folder.locked(folder), writing(folder):
                    run_folder.remove_run(folder)

        on_main_process(remove)

    def run(self) -> SubsetMetrics:
        """Train, interpolate with the base, compare with it and save."""
        started = time.monotonic()
        trainer = self._trainer()
        base_weights = {name: tensor.clone() for name, tensor in trained_weights(trainer.module.model).items()}
        base_scores = self.reviews.score(trainer, "test")
        hidden = None
        # a base whose tokens are no words did not learn [UNK]
        if self.config.field in self.base.template.fields and kind_of(self.base.tokenizer) == WORDS:
            hidden = self.reviews.score_with_hidden_value(trainer, "test", self.config.field)
        self.start(trainer, f"{self.folder.resolve().parent.name}-{self.subset.slug}")
        # count the seconds before the interruption too
        started -= trainer.state.seconds
        trainer.run()
        alpha, validation_by_alpha = keep_best_alpha(
            trainer, base_weights, lambda: self.reviews.score(trainer, "validation")
        )
        metrics = SubsetMetrics(
            field=self.config.field,
            value=self.subset.value,
            method=self.config.method,
            base=self.base.reference,
            reviews={name: len(split) for name, split in self.reviews.texts.items()},
            comparison=Comparison.of(
                base_scores,
                self.reviews.score(trainer, "test"),
                self.config.training.seed,
                self.reviews.train_fraction,
                hidden,
            ),
            training=trainer.summary(),
            alpha=alpha,
            validation_by_alpha=validation_by_alpha,
            settings=self.resume_key,
            environment=Environment.of(self.accelerator.device),
            copying=None,
            seconds=0.0,
            size_bytes=0,
            header=self.reviews.commonest_header(),
        )
        logger.info(_summary(metrics))
        whole = metrics.comparison.whole
        log_results(self.accelerator, trainer.state, whole.tuned, perplexity_change=whole.perplexity_change.value)
        # only the main process measures copying, seconds and size
        return self.save_on_main_process(lambda: self._save(trainer.module.model, metrics, started))

    def _trainer(self) -> Trainer[LanguageModelLoss]:
        model = self.base.load_model()
        if self.config.method == "lora":
            model = build_adapter(model, self.config.lora, self.config.training.seed)
        model = model.to(self.accelerator.device)
        return self.make_trainer(SubsetModeling(model, self.reviews, self.config.objective, self.accelerator))

    def _save(self, model: GPT2LMHeadModel, metrics: SubsetMetrics, started: float) -> SubsetMetrics:
        """Write the folder's files, and return the metrics with copying, seconds and size."""
        # with the default, "auto", peft requests the base's vocabulary size from the Hub
        settings = {"save_embedding_layers": False} if self.config.method == "lora" else {}
        save_model(self.folder, model, self.base.tokenizer, **settings)
        self.base.template.save(self.folder)
        self.write_config(dataclasses.replace(self.config, value=self.subset.value, variety=None))
        return dataclasses.replace(
            metrics,
            copying=self._check_copying(without_peft(model)),
            seconds=round(time.monotonic() - started, 1),
            size_bytes=(self.folder / WEIGHTS[self.config.method]).stat().st_size,
        )

    def _check_copying(self, model: GPT2LMHeadModel) -> CopyCheck | None:
        """Measure the spans in common with the subset's training reviews.

        Descriptions generated for the headers of held-out reviews are compared with the held-out descriptions. The
        result is None without the package ``evaluate``, or if no header leaves the model a position.
        """
        if importlib.util.find_spec("evaluate") is None:
            return None
        held_out = concatenate_datasets([self.reviews.texts["test"], self.reviews.texts["validation"]])
        positions = model.config.max_position_embeddings
        held_out = with_fitting_headers(held_out, self.base.template, self.base.tokenizer, positions)
        if not len(held_out):
            return None
        generator = ReviewGenerator(model, self.base.tokenizer, COPY_CHECK_BATCH, self.config.training.seed)
        real = read_reviews(held_out.select(range(min(len(held_out), COPY_CHECK_TEXTS))), self.base.template)
        generated = generator.continuations(
            real.headers, longest_description(real, self.base.tokenizer), "writing reviews"
        )
        train = read_reviews(self.reviews.texts["train"], self.base.template).descriptions
        return CopyCheck(copying(generated, train).mean_longest, copying(real.descriptions, train).mean_longest)


def _summary(metrics: SubsetMetrics) -> str:
    whole, text = metrics.comparison.whole, metrics.comparison.after_header
    return (
        f"test: perplexity {whole.base.perplexity:,.1f} -> {whole.tuned.perplexity:,.1f} "
        f"({whole.perplexity_change.value:+.1%}; after the header {text.perplexity_change.value:+.1%}), "
        f"interpolation weight alpha {metrics.alpha:g}; "
        f"better than the base: {metrics.comparison.verdict()}"
    )
