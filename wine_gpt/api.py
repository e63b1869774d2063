"""The Python API: every stage as a function with keyword arguments, for notebooks and other programs.

A function with ``settings`` builds the config of its command from them, and runs the same code. A section's settings
are a mapping (``training={"epochs": 2}``); a string sets the section's ``path`` (``data="reviews.csv"``). A wrong
setting raises :class:`wine_gpt.errors.UserError` with the message that the command prints, in which settings are named
without dashes. ``docs/api.md`` has an example.
"""

import dataclasses
import functools
import re
import secrets
from collections.abc import Callable, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any, ParamSpec, TypeAlias, TypeVar, overload

import pandas as pd
import torch
from datasets import Dataset, DatasetDict
from transformers import GPT2LMHeadModel, PreTrainedModel, PreTrainedTokenizerFast

from wine_gpt.arguments import checked_arguments
from wine_gpt.config import (
    DataConfig,
    DistillConfig,
    FinetuneConfig,
    ModelConfig,
    PretrainConfig,
    ReviewsConfig,
    ScoreConfig,
    TokenizerRunConfig,
    finetune_file,
)
from wine_gpt.config_io import config_from_settings, leaf_types
from wine_gpt.data import Reviews
from wine_gpt.data import load_reviews as _load_reviews
from wine_gpt.data.table_object import TABLES, save_table
from wine_gpt.data.template import ReviewTemplate, training_data_settings
from wine_gpt.distillation import distill as _distill
from wine_gpt.errors import UserError
from wine_gpt.evaluation import EvaluationReport
from wine_gpt.evaluation import evaluate_model as _evaluate_model
from wine_gpt.finetuning import SubsetMetrics
from wine_gpt.finetuning.finetune import finetune as _finetune
from wine_gpt.generation.explain import Explanation, require_attention
from wine_gpt.generation.explain import explain as _explain
from wine_gpt.generation.generate import BATCH_SIZE, encode_prompts, generate_ids, generate_texts
from wine_gpt.generation.inference import load_on_device
from wine_gpt.model_path import local_folder
from wine_gpt.modeling import build_model as _build_model
from wine_gpt.publishing import Publication, PublishResult
from wine_gpt.publishing.hub import StagedRepo
from wine_gpt.publishing.publish import dry_run as _dry_run
from wine_gpt.publishing.publish import publish as _publish
from wine_gpt.tasks.classification import ClassifierMetrics
from wine_gpt.tasks.classification.classify import classify as _classify
from wine_gpt.tasks.embedding import EmbeddingMetrics
from wine_gpt.tasks.embedding import finetune_embeddings as _finetune_embeddings
from wine_gpt.tasks.questions import Answer, answer_question, read_question
from wine_gpt.tasks.similarity import SimilarReview, find_similar
from wine_gpt.tokenizer import save_tokenizer, train_on_reviews
from wine_gpt.tokenizer.files import require_tokenizer_folder
from wine_gpt.training import FinishedRun
from wine_gpt.training.accelerator import restored_generators, restored_state
from wine_gpt.training.pretrain import pretrain as _pretrain

P = ParamSpec("P")
R = TypeVar("R")

FLAG = re.compile(r"(?<![\w-])--(no-)?([a-z]\w*(?:\.\w+)*)")
# the flags that are keyword arguments too; an error may also name flags of other programs, such as hf
KEYWORDS = {
    "choices",
    "dry_run",
    *(key for config in (DistillConfig, FinetuneConfig, ScoreConfig) for key, _ in leaf_types(config)),
    *(field.name for field in dataclasses.fields(Publication)),
}
# the flags without a value, and what their keyword arguments are
SWITCHES = {
    **dict.fromkeys(("resume", "overwrite", "dry_run"), "True"),
    **{field.name: "True" for field in dataclasses.fields(Publication) if field.type in (bool, bool | None)},
}

StrPath = str | PathLike[str]
# A folder or Hub id, or a model in memory together with its tokenizer.
Model = StrPath | tuple[PreTrainedModel, PreTrainedTokenizerFast]

# What data.path names, or a table in memory, which is saved as Parquet in the cache of datasets.
Data: TypeAlias = StrPath | Dataset | DatasetDict | pd.DataFrame


def _names_keywords(function: Callable[P, R]) -> Callable[P, R]:
    """Check the arguments, and name settings in errors as Python does: ``overwrite=True`` for ``--overwrite``."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        bound = checked_arguments(function, args, kwargs)
        try:
            return function(*bound.args, **bound.kwargs)
        except UserError as error:
            error.args = (FLAG.sub(_keyword, str(error)), *error.args[1:])
            raise

    return call


def _keyword(flag: re.Match[str]) -> str:
    negated, name = flag.groups()
    if name not in KEYWORDS:
        return flag[0]
    value = "False" if negated else SWITCHES.get(name)
    return f"{name}={value}" if value else name


@_names_keywords
def load_reviews(data: Data = "sample", **settings: object) -> Reviews:
    """Load distinct reviews in three splits.

    Args:
        data: ``sample``, ``kaggle``, a file or folder, the id of a dataset on the Hub, a dataset or a data frame.
        settings: the other fields of :class:`wine_gpt.config.DataConfig`.
    """
    return _load_reviews(config_from_settings(DataConfig, {"path": _as_path(data), **settings}))


@_names_keywords
def train_tokenizer(output_dir: StrPath | None = None, **settings: object) -> PreTrainedTokenizerFast:
    """Train the tokenizer on the train split.

    Args:
        output_dir: the folder that the tokenizer is saved to; ``None`` does not save it.
        settings: the sections ``data`` and ``tokenizer`` of :class:`wine_gpt.config.TokenizerRunConfig`.
    """
    config = config_from_settings(TokenizerRunConfig, _with_data_path(settings))
    if output_dir is not None:
        require_tokenizer_folder(Path(output_dir))
    reviews = _load_reviews(config.data)
    tokenizer = train_on_reviews(reviews.splits["train"], config.data, config.tokenizer)
    if output_dir is not None:
        save_tokenizer(tokenizer, fspath(output_dir))
    return tokenizer


@_names_keywords
def build_model(tokenizer: PreTrainedTokenizerFast, *, seed: int = 42, **settings: object) -> GPT2LMHeadModel:
    """Build an untrained GPT-2.

    Args:
        tokenizer: determines the vocabulary size and the special tokens.
        seed: the seed of the initial weights.
        settings: the fields of :class:`wine_gpt.config.ModelConfig`.
    """
    with restored_generators():
        return _build_model(config_from_settings(ModelConfig, settings), tokenizer, seed)


@_names_keywords
def pretrain(config: StrPath = "sample.yaml", **settings: object) -> FinishedRun:
    """Pretrain a model from scratch and save it to a folder that transformers loads.

    Args:
        config: a YAML file, or a config of the package: ``base.yaml``, ``class.yaml``, ``sample.yaml``.
        settings: sections and fields of :class:`wine_gpt.config.PretrainConfig`, which override the file.
    """
    return _pretrain(config_from_settings(PretrainConfig, _with_data_path(settings), config))


@_names_keywords
def distill(config: StrPath = "best.yaml", **settings: object) -> FinishedRun:
    """Distill an ensemble of pretrained models into one model of the same size.

    Args:
        config: a YAML file, or a config of the package: ``best.yaml``, or one of pretraining.
        settings: sections and fields of :class:`wine_gpt.config.DistillConfig`, which override the file.
    """
    return _distill(config_from_settings(DistillConfig, _with_data_path(settings), config))


@_names_keywords
def finetune(base: StrPath, config: StrPath | None = None, **settings: object) -> list[SubsetMetrics]:
    """Fine-tune a pretrained model on each requested subset.

    Args:
        base: the folder of a finished run.
        config: a YAML file, or a config of the package: ``finetune/lora.yaml``, or ``finetune/full.yaml`` for
            ``method="full"``, which are read by default.
        settings: sections and fields of :class:`wine_gpt.config.FinetuneConfig`, such as ``variety="Pinot Noir"``.

    Returns:
        the metrics of each subset.
    """
    file = finetune_file("generate", settings.get("method")) if config is None else config
    return _finetune(_finetune_config("generate", file, {"base": base, **settings}))


@_names_keywords
def classify(
    base: StrPath, label: str, config: StrPath = "finetune/classify.yaml", **settings: object
) -> ClassifierMetrics:
    """Fine-tune a pretrained model to find a review's label, and save it as a classifier of transformers.

    Args:
        base: the folder of a finished run.
        label: the column of the labels, such as ``variety``; a numeric one becomes bands.
        config: a YAML file, or a config of the package: ``finetune/classify.yaml``.
        settings: sections and fields of :class:`wine_gpt.config.FinetuneConfig`, which override the file.

    Returns:
        the classifier's scores, and those of simple methods on the same test reviews.
    """
    return _classify(_finetune_config("classify", config, {"base": base, "label": label, **settings}))


@overload
def generate(  # type: ignore[overload-overlap] # a str is a Sequence[str]
    model: Model, prompts: str | None = ..., *, seed: int | None = ..., batch_size: int = ..., **settings: object
) -> str: ...
@overload
def generate(
    model: Model, prompts: Sequence[str], *, seed: int | None = ..., batch_size: int = ..., **settings: object
) -> list[str]: ...
@_names_keywords
def generate(
    model: Model,
    prompts: str | Sequence[str] | None = None,
    *,
    seed: int | None = None,
    batch_size: int = BATCH_SIZE,
    **settings: object,
) -> str | list[str]:
    """Continue a prompt, or each of several, and return prompt and continuation together.

    Args:
        model: a folder or a Hub id; or a model and its tokenizer, so that they are not loaded at each call.
        prompts: an empty prompt gives a whole review; ``None`` is the prefix of the model's reviews, or empty for a
            model that is given with its tokenizer.
        seed: the sampling's seed; ``None`` draws one.
        batch_size: prompts that are continued together; fewer need less memory, and are sampled otherwise.
        settings: fields of :class:`transformers.GenerationConfig`, such as ``max_new_tokens`` or ``temperature``. A
            ``guidance_scale`` contrasts the prompt with the same prompt without the header's values; for a model that
            is given with its tokenizer, with the prompt's last token, as transformers does.

    Raises:
        UserError: if the model cannot be loaded, a prompt is too long for it, or a setting is unknown or wrong.
    """
    loaded, tokenizer, template = _load(model)
    prompts = _prefix(template) if prompts is None else prompts
    several = [prompts] if isinstance(prompts, str) else list(prompts)
    if not several:
        return []
    with restored_generators():
        texts = generate_texts(
            loaded,
            tokenizer,
            several,
            seed=_seed(seed),
            batch_size=batch_size,
            template=template,
            label="writing",
            **settings,
        )
    return texts[0] if isinstance(prompts, str) else texts


@_names_keywords
def explain(
    model: Model,
    prompt: str | None = None,
    *,
    seed: int | None = None,
    temperature: float | None = None,
    max_new_tokens: int | None = None,
    layer: int | None = None,
    head: int | None = None,
) -> Explanation:
    """Generate a review and explain each word: its alternatives, and the earlier words that it attended to.

    Args:
        model: as in :func:`generate`.
        prompt: as in :func:`generate`.
        seed: the sampling's seed; ``None`` draws one.
        temperature: the temperature of the sampling and of the probabilities; ``None`` is the model's own.
        max_new_tokens: largest number of generated words; ``None`` ends with the review.
        layer: the layer whose attention is returned, from 0; ``None`` is the mean over all layers.
        head: the head whose attention is returned, from 0; ``None`` is the mean over all heads.

    Raises:
        UserError: as :func:`generate`, and if the model has no such layer or head.
    """
    loaded, tokenizer, template = _load(model)
    require_attention(loaded, layer, head)
    settings: dict[str, Any] = {} if temperature is None else {"temperature": temperature}
    inputs = encode_prompts(loaded, tokenizer, [_prefix(template) if prompt is None else prompt])
    with restored_generators():
        ids = generate_ids(loaded, inputs, seed=_seed(seed), max_new_tokens=max_new_tokens, **settings)
    length = inputs["input_ids"].shape[1]
    return _explain(loaded, tokenizer, ids[0].tolist(), length, temperature=temperature, layer=layer, head=head)


@_names_keywords
def finetune_embeddings(
    base: StrPath, config: StrPath = "finetune/embed.yaml", **settings: object
) -> EmbeddingMetrics:
    """Fine-tune a pretrained model for embeddings of descriptions, and save it for sentence-transformers.

    Args:
        base: the folder of a finished run.
        config: a YAML file, or a config of the package: ``finetune/embed.yaml``.
        settings: sections and fields of :class:`wine_gpt.config.FinetuneConfig`, which override the file.
    """
    return _finetune_embeddings(_finetune_config("embed", config, {"base": base, **settings}))


@_names_keywords
def ask(
    model: Model, review: str, question: str, choices: Sequence[str] | None = None, *, prefix: str | None = None
) -> list[Answer]:
    """Answer a multiple-choice question about a review by the likelihood of each choice.

    Args:
        model: as in :func:`generate`.
        review: a review with its header, or its beginning.
        question: ``food``, ``fruit``, ``ready``, or the beginning of a sentence that may follow the review.
        choices: ways to continue the question; ``None`` for those of the three questions.
        prefix: what stands in place of the review for :attr:`Answer.without_review`; ``None`` is the prefix of the
            model's reviews, or nothing for a model that is given with its tokenizer.

    Returns:
        the answers, the likeliest first.

    Raises:
        UserError: if the model cannot be loaded, or review, question or choices are empty, unknown or too long.
    """
    loaded, tokenizer, template = _load(model)
    asked = read_question(question, choices)
    before = _prefix(template) if prefix is None else prefix
    return answer_question(loaded, tokenizer, review, asked, prefix=before)


@_names_keywords
def similar(
    run: StrPath, text: str, k: int = 5, *, data: Data | dict[str, object] | None = None
) -> list[SimilarReview]:
    """Find the training reviews of a run that are most like a text, by embeddings of their descriptions.

    Args:
        run: the folder of a finished run. Its folder ``similarity`` gets the embeddings and a model of
            sentence-transformers at the first call.
        text: a description, or a whole review, whose header is left out.
        k: how many.
        data: where the run's reviews are, if they were moved: the path, or the section
            :class:`wine_gpt.config.ReviewsConfig`.

    Returns:
        the reviews, the most similar first.

    Raises:
        UserError: if the run or its reviews can't be read, the text has no known word, or k is out of range.
    """
    moved = _with_data_path({"data": data}).get("data")
    settings = moved if isinstance(moved, dict) else {"path": moved}
    with restored_generators():
        return find_similar(fspath(run), text, k, config_from_settings(ReviewsConfig, settings))


@_names_keywords
def evaluate_model(model: StrPath, **settings: object) -> EvaluationReport:
    """Score a model on held-out reviews: loss, copying, diversity, conditioning.

    Args:
        model: the folder of a run or an adapter, or a Hub id.
        settings: sections and fields of :class:`wine_gpt.config.ScoreConfig`. By default ``data`` is as in the run
            that trained the model.
    """
    folder = local_folder(fspath(model))
    defaults = training_data_settings(fspath(model), folder)
    config = config_from_settings(ScoreConfig, {"model": model, **_with_data_path(settings)}, defaults=defaults)
    with restored_state():
        return _evaluate_model(config, folder)


@_names_keywords
def publish(
    run: StrPath,
    repo: str,
    *,
    adapters: StrPath | None = None,
    space: str | None = None,
    space_sdk: str = "auto",
    space_hardware: str | None = None,
    private: bool = False,
    revision: str = "main",
    create_pr: bool = False,
    collection: str | None = None,
    license: str | None = None,
    license_name: str | None = None,
    license_link: str | None = None,
    language: str | None = None,
    dataset_name: str | None = None,
    onnx: bool | None = None,
    index: bool | None = None,
    epochs: bool | None = None,
    dry_run: bool = False,
) -> PublishResult | list[StagedRepo]:
    """Publish a finished run on the Hub, each repository in one commit.

    Args:
        run: the folder of the run.
        repo: the model's repository, ``org/name``.
        adapters: the folder of :func:`finetune`; each subset gets the repository ``org/name-subset``.
        space: the demo's repository.
        space_sdk: gradio, static (the explorer), or auto, which the owner's plan decides.
        space_hardware: cpu-basic or zero-a10g (ZeroGPU) for a new Gradio Space.
        private: create new repositories as private.
        revision: the branch of the model repositories.
        create_pr: open pull requests instead of writing to the branch.
        collection: the title of a collection for all repositories.
        license: the id of the model's license, if it was trained on your own data.
        license_name: the name of a license that the Hub does not list; its id is ``other``.
        license_link: the address of that license's text.
        language: the ISO 639 code of your own data's language.
        dataset_name: your own data in words.
        onnx: add an ONNX export; None keeps the one on the Hub.
        index: add the index of training spans; None adds it for the sample and Kaggle's reviews only.
        epochs: add the weights of each epoch, for the explorer; None keeps those on the Hub.
        dry_run: write all files to ``run/publish`` and upload nothing.

    Returns:
        what was published; for a dry run the repositories with their files.

    Raises:
        UserError: if something is wrong before anything is uploaded.
        HubError: if the Hub cannot be reached or refuses; the same call resumes.
    """
    publication = Publication(
        run=Path(run),
        repo=repo,
        adapters=None if adapters is None else Path(adapters),
        space=space,
        space_sdk=space_sdk,
        space_hardware=space_hardware,
        private=private,
        revision=revision,
        create_pr=create_pr,
        collection=collection,
        license=license,
        license_name=license_name,
        license_link=license_link,
        language=language,
        dataset_name=dataset_name,
        onnx=onnx,
        index=index,
        epochs=epochs,
    )
    # staging generates the card's samples
    with restored_generators():
        return _dry_run(publication, publication.run / "publish") if dry_run else _publish(publication)


def _finetune_config(task: str, file: StrPath, settings: dict[str, object]) -> FinetuneConfig:
    """Build the config of a task's function, whose file may leave the task out."""
    _require_task(task, settings.get("task", task))
    named = {} if task == "generate" else {"task": task}
    config = config_from_settings(FinetuneConfig, {**named, **_with_data_path(settings)}, file)
    _require_task(task, config.task)
    return config


def _require_task(task: str, given: object) -> None:
    if given != task:
        functions = {"generate": finetune, "classify": classify, "embed": finetune_embeddings}
        known = f"must be one of {', '.join(functions)}"
        advice = f"call wine_gpt.{functions[given].__name__} for it" if given in functions else known
        raise UserError(f"config: task is {given!r}: {advice}")


def _as_path(data: object) -> object:
    return save_table(data) if isinstance(data, TABLES) else data


def _with_data_path(settings: dict[str, object]) -> dict[str, object]:
    """Replace a table in memory, ``data=table`` or ``data={"path": table}``, by the file that it is saved to."""
    data = _as_path(settings.get("data"))
    if isinstance(data, dict) and "path" in data:
        data = {**data, "path": _as_path(data["path"])}
    return settings if data is None else {**settings, "data": data}


def _load(model: Model) -> tuple[PreTrainedModel, PreTrainedTokenizerFast, ReviewTemplate | None]:
    """Return a model, its tokenizer and the form of its reviews, which is None for a model in memory."""
    if not isinstance(model, tuple):
        folder = local_folder(fspath(model))
        # the caller may create an Accelerator with other settings
        with restored_state():
            return *load_on_device(folder), ReviewTemplate.load(folder)
    # a PEFT model is no PreTrainedModel
    for item, kind in zip(model, (torch.nn.Module, PreTrainedTokenizerFast), strict=True):
        if not isinstance(item, kind):
            raise UserError(
                f"model: {type(item).__name__} is no {kind.__name__}: name (model, tokenizer) in this order"
            )
    return *model, None


def _prefix(template: ReviewTemplate | None) -> str:
    return template.prefix if template else ""


def _seed(seed: int | None) -> int:
    if seed is None:
        return secrets.randbits(32)
    if not 0 <= seed < 2**32:
        raise UserError(f"seed: {seed} is no number from 0 to {2**32 - 1:,}")
    # a number of NumPy is refused by random
    return int(seed)
