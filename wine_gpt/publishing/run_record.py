"""Read a finished run and the models fine-tuned from it, for publishing."""

import dataclasses
import math
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from wine_gpt.config import FinetuneConfig, GenerationDefaults, PretrainConfig, ReviewsConfig, TrainingConfig
from wine_gpt.config_io import parse_config, to_yaml
from wine_gpt.data.report import DataReport
from wine_gpt.data.template import ReviewTemplate, require_template
from wine_gpt.errors import UserError
from wine_gpt.evaluation.results import EvaluationReport
from wine_gpt.files import JsonObject, JsonRecord, read_json, read_record, sha256
from wine_gpt.finetuning.results import SubsetMetrics, is_finetuned
from wine_gpt.model_path import describe_missing
from wine_gpt.publishing.corpus import NOTHING_SAID, Corpus, OwnCorpus, corpus_of
from wine_gpt.publishing.data_source import DataSource
from wine_gpt.publishing.published_files import ADAPTER_FILES, MODEL_FILES, TOKENIZER_FILES
from wine_gpt.run_folder import (
    CONFIG,
    DATA_REPORT,
    EVALUATION,
    FINETUNE_CONFIG,
    GENERATION_CONFIG,
    LOSS_BY_FIELD_PLOT,
    LOSS_PLOT,
    METRICS,
    MODEL_CONFIG,
    SENTENCE_MODULES,
    WEIGHTS,
)
from wine_gpt.tokenizer import load_tokenizer
from wine_gpt.tokenizer.schemes import kind_of, unit_of_kind
from wine_gpt.training.record import RunMetrics, TrainingSummary

# where the commands on the cards download to
DOWNLOADS = "downloads"


@dataclass(frozen=True)
class ModelShape(JsonRecord):
    """The sizes in a GPT-2's ``config.json``."""

    n_layer: int
    n_head: int
    n_embd: int
    # None: 4 * n_embd
    n_inner: int | None
    n_positions: int
    vocab_size: int


@dataclass(frozen=True)
class RunRecord:
    """A finished run.

    Attributes:
        folder: the folder that ``scripts/pretrain.py`` wrote.
        config: its settings.
        corpus: the texts that the model was trained on.
        metrics: its figures.
        shape: the model's sizes.
        generation: the sampling defaults in the model's folder.
        data_report: counts of the records read, dropped and kept; None if the file is missing.
        evaluation: the figures of ``scripts/score.py``; None if it was not run, or is of other reviews than the scores
            in ``metrics`` or of other sampling settings than ``generation``.
    """

    folder: Path
    config: PretrainConfig
    corpus: Corpus
    metrics: RunMetrics
    shape: ModelShape
    generation: GenerationDefaults
    data_report: DataReport | None
    evaluation: EvaluationReport | None

    @property
    def template(self) -> ReviewTemplate:
        """The template that the training texts were rendered with."""
        return ReviewTemplate.from_config(self.config.data)

    @property
    def data_source(self) -> DataSource:
        """Where the training texts came from."""
        return DataSource(self.config.data, self.data_report)

    @cached_property
    def _tokenizer(self) -> PreTrainedTokenizerFast:
        return load_tokenizer(self.folder)

    @property
    def tokenizer_kind(self) -> str | None:
        """The kind of the saved tokenizer, see :func:`wine_gpt.tokenizer.schemes.kind_of`."""
        return kind_of(self._tokenizer)

    @property
    def lower_case(self) -> bool:
        """Whether the model reads and writes lower case only, which another package's words need not."""
        normalizer = self._tokenizer.backend_tokenizer.normalizer
        return normalizer is not None and normalizer.normalize_str("A") == "a"

    @property
    def units(self) -> str:
        """What the card calls the tokens: words, characters or tokens."""
        return unit_of_kind(self.tokenizer_kind)

    @property
    def weights_sha256(self) -> str:
        """The SHA-256 of the weights' file, which fine-tuned models record for their base."""
        return sha256(self.folder / WEIGHTS)

    @property
    def plots(self) -> list[tuple[str, str]]:
        """Title and file of each plot in the folder; without an evaluation, none of its plots."""
        fields = self.config.data.prompt_fields[-1:]
        # a refit has its run's score, but was not validated itself
        is_validated = self.metrics.training.epochs and self.metrics.validation
        losses = "Training and validation loss" if is_validated else "Training loss"
        plots = [
            (f"{losses} over the optimizer steps", LOSS_PLOT),
            (f"Reliability diagram of the next-{self.units[:-1]} probabilities", f"{EVALUATION}/reliability.png"),
            ("Loss by position in the text", f"{EVALUATION}/loss_by_position.png"),
            *((f"Loss by {field}", f"{EVALUATION}/{LOSS_BY_FIELD_PLOT}") for field in fields),
        ]
        return [
            (title, file)
            for title, file in plots
            if (self.folder / file).is_file() and (self.evaluation or file == LOSS_PLOT)
        ]

    def published_config(self, name: str) -> PretrainConfig:
        """Return the config for the repository ``name``, without paths of the local machine.

        A given tokenizer is read from the folder that the card's commands download it to, because a name on the Hub
        has no branch.

        The precision is the one that the run used, because ``auto`` depends on the hardware. Trackers are left out,
        because a reader's installation may lack them.
        """
        config = self.config
        data = dataclasses.replace(config.data, path=self.data_source.published_path)
        short_name = name.rpartition("/")[2]
        tokenizer_path = f"{DOWNLOADS}/{short_name}" if config.tokenizer.path else None
        return dataclasses.replace(
            config,
            data=data,
            tokenizer=dataclasses.replace(config.tokenizer, path=tokenizer_path),
            training=_published_training(config.training, self.metrics.training),
            output_dir=f"runs/{short_name}",
            resume=None,
            overwrite=False,
        )

    @property
    def config_files(self) -> tuple[str, ...]:
        """The files of the repository that training again reads: the config, and a tokenizer that was given."""
        return (CONFIG, *(TOKENIZER_FILES if self.config.tokenizer.path else ()))

    def config_yaml(self, name: str) -> str:
        """Return :meth:`published_config` as YAML."""
        return to_yaml(self.published_config(name))


@dataclass(frozen=True)
class SubsetModel:
    """A model fine-tuned on one subset, and the repository that it is published to."""

    folder: Path
    repository: str
    metrics: SubsetMetrics

    @property
    def is_adapter(self) -> bool:
        """Whether the model is a LoRA adapter, not a whole model."""
        return self.metrics.method == "lora"

    @cached_property
    def config(self) -> FinetuneConfig:
        """The settings of the fine-tuning."""
        return read_finetune_config(self.folder)

    def config_yaml(self, base: str) -> str:
        """Return the config that fine-tunes the repository ``base`` again, as YAML."""
        name = base.rpartition("/")[2]
        base_folder, output = f"{DOWNLOADS}/{name}", f"runs/{name}-{self.metrics.method}"
        published = published_finetune_config(self.config, self.metrics.training, base_folder, output)
        return to_yaml(dataclasses.replace(published, min_reviews=1))


def read_finetune_config(folder: Path) -> FinetuneConfig:
    """Read the settings of a fine-tuning from its folder.

    Raises:
        UserError: if the file is not a config of fine-tuning.
    """
    return parse_config(FinetuneConfig, [str(folder / FINETUNE_CONFIG)])


def published_finetune_config(
    config: FinetuneConfig, training: TrainingSummary, base: str, output_dir: str
) -> FinetuneConfig:
    """Return a fine-tuning's settings with other folders, as :meth:`RunRecord.published_config` does.

    Args:
        config: the settings.
        training: see :class:`TrainingSummary`.
        base: the folder of the base in the commands on the card.
        output_dir: the folder that these commands write to.
    """
    return dataclasses.replace(
        config,
        base=base,
        output_dir=output_dir,
        data=ReviewsConfig(),
        training=_published_training(config.training, training),
        resume=False,
        overwrite=False,
    )


def _published_training(config: TrainingConfig, training: TrainingSummary) -> TrainingConfig:
    return dataclasses.replace(config, mixed_precision=training.mixed_precision, trackers="none")


def read_run(folder: Path, own: OwnCorpus = NOTHING_SAID) -> RunRecord:
    """Read a run's folder and check that it has all files of a published model.

    Args:
        folder: the folder that ``scripts/pretrain.py`` wrote.
        own: license, language and name of the user's own corpus.

    Raises:
        UserError: if the folder holds no finished run, or a file is missing or damaged.
    """
    if not folder.is_dir():
        raise UserError(describe_missing(str(folder)))
    _require_no_finetuned(folder)
    if not (folder / METRICS).exists():
        raise UserError(
            f"{folder} holds no finished run: it has no {METRICS}, which scripts/pretrain.py writes last: "
            "train it first, or finish it with --resume"
        )
    require_files(folder, (*MODEL_FILES, *TOKENIZER_FILES, CONFIG))
    config = parse_config(PretrainConfig, [str(folder / CONFIG)])
    require_template(folder, config.data)
    metrics = RunMetrics.load(folder)
    if metrics.test is None and metrics.validation is None:
        raise UserError(f"{folder / METRICS} has no figures of a held-out split")
    report_file = folder / DATA_REPORT
    report = read_record(report_file, DataReport.from_dict) if report_file.exists() else None
    generation = read_record(folder / GENERATION_CONFIG, _generation_defaults)
    return RunRecord(
        folder,
        config,
        corpus_of(DataSource(config.data, report), own),
        metrics,
        shape=read_record(folder / MODEL_CONFIG, ModelShape.from_dict),
        generation=generation,
        data_report=report,
        evaluation=_read_evaluation(folder / EVALUATION / METRICS, metrics, generation),
    )


def read_subset_models(folder: Path, run: RunRecord, base: str) -> tuple[list[SubsetModel], list[str]]:
    """Read the models that ``scripts/finetune.py`` wrote, each in its subfolder.

    Returns:
        The models that are better than their base, the largest gain first, and one line for each of the others.

    Raises:
        UserError: if there is no model, or one is damaged or was fine-tuned from other weights than the run's.
    """
    found = _subset_folders(folder)
    weights_sha256 = run.weights_sha256
    subset_models, left_out = [], []
    for subfolder in found:
        metrics = read_record(subfolder / METRICS, SubsetMetrics.from_dict)
        subset_model = SubsetModel(subfolder, f"{base}-{subfolder.name}", metrics)
        _require_finetuned(subset_model, weights_sha256)
        if metrics.comparison.better:
            subset_models.append(subset_model)
        else:
            left_out.append(f"{metrics.value}: no better than its base, left out")
    subset_models.sort(key=lambda model: model.metrics.comparison.whole.perplexity_change.value)
    return subset_models, left_out


def _subset_folders(folder: Path) -> list[Path]:
    """Return the folders of the models in the output folder of ``scripts/finetune.py``."""
    if not folder.is_dir():
        raise UserError(f"--adapters: no such folder: {folder}; scripts/finetune.py prints where it saves")
    is_one = (folder / METRICS).is_file()
    found = [folder] if is_one else sorted(path.parent for path in folder.glob(f"*/{METRICS}"))
    if not found:
        raise UserError(f"--adapters: {folder} holds no model of scripts/finetune.py")
    for subfolder in found:
        if not is_finetuned(read_json(subfolder / METRICS)):
            raise UserError(
                f"--adapters: {subfolder} is no model that scripts/finetune.py fine-tuned on a subset of its base's "
                "reviews: name a folder of such models"
            )
    if is_one:
        parent = os.path.normpath(folder / "..")
        raise UserError(f"--adapters: {folder} is one fine-tuned model: name the folder of all, --adapters {parent}")
    return found


def require_no_embeddings(folder: Path) -> None:
    """Check that a folder holds no model for embeddings, because there is no card for one.

    Raises:
        UserError: if it does; the message says how sentence-transformers uploads it.
    """
    if (folder / SENTENCE_MODULES).is_file():
        raise UserError(
            f"{folder} is a model for embeddings, which publish does not upload: in Python, "
            f'SentenceTransformer("{folder}").push_to_hub("org/name") does'
        )


def _require_no_finetuned(folder: Path) -> None:
    """Check that a folder holds no fine-tuned models, which are published with their base."""
    if (folder / METRICS).is_file():
        if is_finetuned(read_json(folder / METRICS)):
            parent = os.path.normpath(folder / "..")
            raise UserError(f"{folder} is a fine-tuned model: publish its base, with --adapters {parent}")
    elif any(is_finetuned(read_json(file)) for file in folder.glob(f"*/{METRICS}")):
        raise UserError(f"{folder} holds fine-tuned models: publish their base, with --adapters {folder}")


def require_files(folder: Path, names: tuple[str, ...]) -> None:
    """Check that a folder has the files.

    Raises:
        UserError: that names the first missing one.
    """
    for name in names:
        if not (folder / name).is_file():
            raise UserError(f"{folder} has no {name}, which publishing needs: name the folder that training wrote")


def _generation_defaults(content: JsonObject) -> GenerationDefaults:
    """Read the sampling defaults of a ``generation_config.json``, in which a missing key means no change."""
    return GenerationDefaults(content.get("temperature", 1.0), content.get("top_p", 1.0), content.get("top_k", 0))


def _read_evaluation(file: Path, metrics: RunMetrics, generation: GenerationDefaults) -> EvaluationReport | None:
    """Return a run's evaluation; None if there is none, or if it is of other reviews or sampling settings."""
    if not file.exists():
        return None
    report = read_record(file, EvaluationReport.from_dict)
    score = {"test": metrics.test, "validation": metrics.validation}.get(report.split)
    # the precision of training may have been another
    is_of_reviews = (
        score is not None
        and score.reviews == report.likelihood.reviews
        and math.isclose(score.nats_per_word, report.likelihood.nats_per_word, rel_tol=0.01)
    )
    sampling = {name: value for name, value in report.samples.settings.items() if value is not None}
    return report if is_of_reviews and _generation_defaults(sampling) == generation else None


def _require_finetuned(model: SubsetModel, weights_sha256: str) -> None:
    """Check that a model was fine-tuned from the weights with this checksum and has all its files."""
    found = model.metrics.base.weights_sha256
    if found != weights_sha256:
        raise UserError(
            f"--adapters: {model.folder} was fine-tuned from other weights than RUN's "
            f"({found[:12]}…, not {weights_sha256[:12]}…)"
        )
    weights = ADAPTER_FILES if model.is_adapter else MODEL_FILES
    require_files(model.folder, (*weights, *TOKENIZER_FILES, FINETUNE_CONFIG))
