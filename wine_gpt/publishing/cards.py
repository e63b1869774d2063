"""Fill the templates of model and Space cards with a run's figures and settings, and write the Hub's metadata.

A section without figures is left out.
"""

import json
import math
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import CardData, EvalResult, ModelCard, ModelCardData, RepoCard, SpaceCard, SpaceCardData
from jinja2 import Environment as TemplateEnvironment
from jinja2 import FileSystemLoader, StrictUndefined

from wine_gpt.config import GenerationDefaults
from wine_gpt.data.sources import is_hub_dataset
from wine_gpt.errors import UserError
from wine_gpt.finetuning.results import CopyCheck, SubsetMetrics
from wine_gpt.markdown import code, escape, fenced, table
from wine_gpt.modeling.scoring import Score
from wine_gpt.publishing.card_tables import (
    GRAMS_PER_KWH,
    conditioning_table,
    copying_table,
    data_table,
    diversity_table,
    figure,
    finetuning_table,
    grams_of_co2,
    score_table,
    subset_models_table,
    training_table,
)
from wine_gpt.publishing.corpus import PUBLIC, Corpus
from wine_gpt.publishing.explorer import EXPLORER
from wine_gpt.publishing.hub import MAIN
from wine_gpt.publishing.kept import NOTHING_KEPT, Kept
from wine_gpt.publishing.published_files import PUBLISHED_FINETUNE_CONFIG, SPACE_THUMBNAIL
from wine_gpt.publishing.run_record import DOWNLOADS, ModelShape, RunRecord, SubsetModel
from wine_gpt.publishing.samples import SEED, Sample
from wine_gpt.publishing.source import source_url
from wine_gpt.run_folder import CONFIG, WEIGHTS
from wine_gpt.training.record import Environment, TrainingSummary
from wine_gpt.version import __version__

CardT = TypeVar("CardT", bound=RepoCard)

TEMPLATES = Path(__file__).parent / "templates"
# the Python version of the Space
PYTHON_VERSION = "3.11"
# the model in the demo's README.md, which the card replaces by the published one
README_MODEL = "org/wine-gpt"
# the Hub's limit, in characters
SHORT_DESCRIPTION_LENGTH = 60


def model_card(
    run: RunRecord,
    name: str,
    revision: str,
    subset_models: Sequence[SubsetModel],
    space: str | None,
    indexed: bool,
    onnx: bool = False,
    kept: Kept = NOTHING_KEPT,
    samples: Sequence[Sample] = (),
) -> ModelCard:
    """Return the card of a run's model.

    Args:
        run: with or without an evaluation.
        name: of its repository.
        revision: the branch it is published to.
        subset_models: the fine-tuned models that are published with it.
        space: the demo's repository; None without one.
        indexed: whether the index of training n-grams is published.
        onnx: whether an ONNX file is published.
        kept: the fine-tuned models of an earlier publish that stay listed.
        samples: texts of the published weights.
    """
    data = ModelCardData(
        **_shared_metadata(run.corpus, samples, *(("onnx", "transformers.js") if onnx else ())),
        library_name="transformers",
        pipeline_tag="text-generation",
        model_name=name.split("/")[1],
        eval_results=_eval_results(run.corpus, run.metrics.test, run.corpus.name),
        adapters=[*(model.repository for model in subset_models if model.is_adapter), *kept.adapters] or None,
        co2_eq_emissions=_emissions(run.metrics.training, run.metrics.environment, "pre-training"),
    )
    return _card(
        ModelCard,
        data,
        "model.md",
        **_shared(run, name, revision, samples),
        prompt=_string(samples[-1].prompt if samples else run.template.prefix),
        onnx=onnx,
        space=space or "",
        subset_models=subset_models_table(subset_models, kept.rows),
        field=escape(subset_models[0].metrics.field) if subset_models else kept.field,
        facts=_facts(run, space),
        data_rows=data_table(run.data_report) if run.data_report else "",
        training=training_table(run),
        evaluation=score_table("split", {"test": run.metrics.test, "validation": run.metrics.validation}),
        indexed=indexed,
        **_evaluation_sections(run),
        plots=run.plots,
        command=_pretrain_command(run, name, revision),
    )


def subset_card(
    run: RunRecord, subset_model: SubsetModel, base: str, revision: str, samples: Sequence[Sample] = ()
) -> ModelCard:
    """Return the card of a fine-tuned model, whose base is published as ``base``."""
    metrics = subset_model.metrics
    comparison = metrics.comparison
    # the tags of PEFT's own cards
    tags = ("lora", "transformers", f"base_model:adapter:{base}") if subset_model.is_adapter else ("finetuned",)
    data = ModelCardData(
        **_shared_metadata(run.corpus, samples, *tags),
        library_name="peft" if subset_model.is_adapter else "transformers",
        pipeline_tag="text-generation",
        base_model=base,
        base_model_relation="adapter" if subset_model.is_adapter else "finetune",
        model_name=subset_model.repository.split("/")[1],
        eval_results=_eval_results(run.corpus, comparison.whole.tuned, f"{run.corpus.name}, {metrics.value}"),
        co2_eq_emissions=_emissions(metrics.training, metrics.environment, "fine-tuning"),
    )
    return _card(
        ModelCard,
        data,
        "subset.md",
        **_shared(run, subset_model.repository, revision, samples),
        prompt=_string(subset_prompt(run, metrics)),
        base=base,
        field=escape(metrics.field),
        value=escape(metrics.value),
        is_adapter=subset_model.is_adapter,
        evaluation=score_table("model", {"base": comparison.whole.base, "this one": comparison.whole.tuned}),
        change=comparison.whole.perplexity_change.as_percent(),
        after_header=comparison.after_header.perplexity_change.as_percent(),
        copying=_copy_check(metrics.copying) if metrics.copying else "",
        training=finetuning_table(subset_model),
        command=_finetune_command(run, subset_model, base, revision),
    )


def space_card(
    run: RunRecord,
    readme: Path,
    name: str,
    model: str,
    subset_models: Sequence[SubsetModel],
    kept: Sequence[str] = (),
) -> SpaceCard:
    """Return the demo's card, whose metadata configures the Space on the Hub.

    Args:
        run: of the model that the demo loads.
        readme: the demo's README.md.
        name: of the demo's repository.
        model: the model's repository.
        subset_models: the fine-tuned models that are published with it.
        kept: the fine-tuned models that an earlier publish has listed.

    Raises:
        UserError: if the README has a template placeholder.
    """
    card = SpaceCard.load(readme)
    corpus, prefix = run.corpus, run.template.prefix
    if placeholder := re.search(r"\{\{|\{%", card.text):
        raise UserError(f"{readme}: the card's text has a placeholder: {placeholder[0]}")
    data = SpaceCardData(
        **{
            **card.data.to_dict(),
            **({} if corpus.wine else _neutral_metadata(model, prefix)),
            "python_version": PYTHON_VERSION,
            "thumbnail": _thumbnail(readme.parent, name),
            "models": [model, *(subset_model.repository for subset_model in subset_models), *kept],
            "datasets": [corpus.dataset] if corpus.dataset else None,
            "tags": ["text-generation", "gpt2", *_subject_tags(corpus)],
        }
    )
    text = card.text.strip().replace(README_MODEL, model)
    values = {"text": text, "model": model, "corpus": corpus, "source": source_url() or "", "prefix": escape(prefix)}
    return _card(SpaceCard, data, "space.md", **values)


def _thumbnail(demo: Path, name: str) -> str | None:
    """Return the address of the demo's picture, if it has one."""
    address = f"https://huggingface.co/spaces/{name}/resolve/main/{SPACE_THUMBNAIL}"
    return address if (demo / SPACE_THUMBNAIL).is_file() else None


def explorer_card(
    run: RunRecord, name: str, model: str, subset_models: Sequence[SubsetModel], kept: Sequence[str] = ()
) -> SpaceCard:
    """Return the card of the explorer's static Space, whose metadata configures it on the Hub.

    Args:
        run: of the model that the explorer loads.
        name: the Space's repository.
        model: see :func:`space_card`.
        subset_models: see :func:`space_card`.
        kept: see :func:`space_card`.
    """
    corpus = run.corpus
    data = SpaceCardData(
        title=f"Look inside {model.split('/')[1]}",
        emoji="🍷" if corpus.wine else "📝",
        colorFrom="pink",
        colorTo="red",
        sdk="static",
        app_file="index.html",
        thumbnail=_thumbnail(EXPLORER, name),
        license="apache-2.0",
        short_description="A small GPT-2 in your browser, and each of its numbers",
        models=[model, *(subset_model.repository for subset_model in subset_models), *kept],
        datasets=[corpus.dataset] if corpus.dataset else None,
        tags=["text-generation", "gpt2", "interpretability", *_subject_tags(corpus)],
    )
    values = {"name": name, "model": model, "corpus": corpus, "source": source_url() or ""}
    return _card(SpaceCard, data, "explorer.md", **values)


def _neutral_metadata(model: str, prefix: str) -> dict[str, str]:
    """Return the metadata that the demo's README.md has in wine's words, for another corpus."""
    named = f"A small GPT-2 writes “{prefix}” texts and shows why"
    short = named if prefix and len(named) <= SHORT_DESCRIPTION_LENGTH else "A small GPT-2 writes texts and shows why"
    return {"title": model.split("/")[1], "emoji": "📝", "short_description": short}


def license_notice(run: RunRecord) -> str:
    """Return the LICENSE file of a repository with weights."""
    corpus, license = run.corpus, run.corpus.license
    source = f" ({corpus.page})" if corpus.page else ""
    lines = [f"The weights and the vocabulary in this repository were learned from {corpus.name}{source}."]
    if corpus.creator:
        lines.append(f"{corpus.creator} made that dataset {corpus.made_from}.")
        lines.append(f"It is licensed under {license.name}, and so are the weights and the vocabulary.")
    else:
        lines.append(f"They are published under the license {license.name}.")
    lines += [corpus.conditions] if corpus.conditions else []
    return "\n".join([*lines, *([f"The text of the license: {license.url}"] if license.url else [])]) + "\n"


def check(card: RepoCard, title: str) -> None:
    """Check a card's metadata without the Hub.

    Raises:
        UserError: if the Hub would refuse the metadata.
    """
    data = card.data.to_dict()
    for name, value in data.items():
        if value in ("", [], {}):
            raise UserError(f"{title}: the card's {name} is empty")
    if not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", data.get("license", "")):
        raise UserError(f"{title}: {data.get('license')!r} is no license identifier such as mit, cc-by-4.0 or other")
    if len(data.get("short_description", "")) > SHORT_DESCRIPTION_LENGTH:
        raise UserError(f"{title}: short_description has more than {SHORT_DESCRIPTION_LENGTH} characters")


# metadata


# Any: the metadata's values are texts, lists and None
def _shared_metadata(corpus: Corpus, samples: Sequence[Sample], *tags: str) -> dict[str, Any]:
    license = corpus.license
    named = {"license_name": license.name, "license_link": license.url} if license.id == "other" else {}
    return {
        "language": list(corpus.languages) or None,
        "license": license.id,
        **named,
        "datasets": [corpus.dataset] if corpus.dataset else None,
        "metrics": ["perplexity"],
        "tags": ["gpt2", "word-level", *tags, *_subject_tags(corpus)],
        "widget": [
            {"text": sample.prompt, "output": {"text": sample.text}} for sample in _distinct(samples) if sample.prompt
        ]
        or None,
    }


def _distinct(samples: Sequence[Sample]) -> list[Sample]:
    """Return the first sample of each prompt."""
    return list({sample.prompt: sample for sample in reversed(samples)}.values())[::-1]


def _subject_tags(corpus: Corpus) -> list[str]:
    return [tag for tag, applies in (("wine", corpus.wine), ("synthetic", corpus.synthetic)) if applies]


def _eval_results(corpus: Corpus, score: Score | None, data_name: str) -> list[EvalResult] | None:
    if score is None or not math.isfinite(score.perplexity):
        return None
    return [
        EvalResult(
            task_type="text-generation",
            task_name="Text generation",
            dataset_type=corpus.dataset_type,
            dataset_name=data_name,
            dataset_config=corpus.config,
            dataset_split="test",
            metric_type=metric,
            metric_name=name,
            metric_value=value,
        )
        for metric, name, value in (
            ("perplexity", "Perplexity", round(score.perplexity, 2)),
            ("nats_per_word", "Nats per word", round(score.nats_per_word, 3)),
        )
    ]


def _emissions(training: TrainingSummary, environment: Environment, kind: str) -> dict[str, str | float] | None:
    """Return the emissions in grams, as the Hub's metadata has them; None if no energy was measured."""
    if not training.energy_kwh:
        return None
    return {
        "emissions": float(f"{grams_of_co2(training.energy_kwh):.2g}"),
        "source": f"energy estimated by codecarbon, at the world's average of {GRAMS_PER_KWH} g per kWh",
        "training_type": kind,
        "hardware_used": environment.device,
    }


# sections


def _shared(run: RunRecord, name: str, revision: str, samples: Sequence[Sample]) -> dict[str, object]:
    template, packages = run.template, run.metrics.environment.packages
    return {
        "name": name,
        "title": name.split("/")[1],
        "revision": "" if revision == MAIN else f', revision="{revision}"',
        "corpus": run.corpus,
        "corpus_name": escape(run.corpus.name),
        "pattern": code(template.render({column: column for column in template.columns})),
        "texts": _texts(run),
        "temperature": "".join(f", {setting}" for setting in _sampling(run.generation)),
        "sampling": ", ".join([*_sampling(run.generation), f"seed={SEED}"]),
        "prompts": _prompts(samples),
        "samples": [fenced(sample.text) for sample in samples],
        "parameters": f"{run.metrics.parameters:,}",
        "version": packages.get("wine_gpt") or __version__,
        "source": source_url() or "",
        "has_own_data": _has_own_data(run),
    }


def _texts(run: RunRecord) -> str:
    """Return what the model writes, in words."""
    prefix = run.template.prefix
    return "wine reviews" if run.corpus.wine else f"texts that begin with {code(prefix)}" if prefix else "texts"


def _string(text: str) -> str:
    """Return a string in Python's and JavaScript's notation."""
    return json.dumps(text, ensure_ascii=False)


def _sampling(generation: GenerationDefaults) -> list[str]:
    """Return the sampling settings, as arguments of a call.

    The temperature is named because pipelines of transformers 4.52 to 5.12 use their own.
    """
    settings = [f"temperature={generation.temperature:g}"]
    if generation.top_p < 1:
        settings.append(f"top_p={generation.top_p:g}")
    if generation.top_k > 0:
        settings.append(f"top_k={generation.top_k}")
    return settings


def _prompts(samples: Sequence[Sample]) -> str:
    prompts = [code(sample.prompt) if sample.prompt else "empty" for sample in _distinct(samples)]
    return f"The prompt{'s were' if len(prompts) > 1 else ' was'} {' and '.join(prompts)}."


def _facts(run: RunRecord, space: str | None) -> str:
    """Return the table at the card's beginning."""
    corpus, report, test, source = run.corpus, run.data_report, run.metrics.test, source_url()
    perplexity = figure(test.perplexity, ".2f") if test else None
    non_commercial = ": non-commercial use only" if "-nc" in corpus.license.id else ""
    rows = [
        ("model", f"GPT-2: {_architecture(run.shape)}"),
        ("tokenizer", "word-level: a token is a word or a punctuation mark, in lower case"),
        ("size", f"{(run.folder / WEIGHTS).stat().st_size / 1e6:,.1f} MB; a CPU is enough"),
        ("language", ", ".join(corpus.languages)),
        ("training texts", f"{report.splits['train']:,}" if report else None),
        ("test perplexity", f"{perplexity} per word" if perplexity else None),
        ("license", f"{corpus.license.markdown}{non_commercial}"),
        ("source code", f"[{source}]({source})" if source else None),
        ("demo", f"[{space}](https://huggingface.co/spaces/{space})" if space else None),
    ]
    return table(("", ""), rows)


def _architecture(shape: ModelShape) -> str:
    inner = 4 * shape.n_embd if shape.n_inner is None else shape.n_inner
    return (
        f"{shape.n_layer:,} layers, {shape.n_head:,} heads, width {shape.n_embd:,}, feed-forward width {inner:,}, "
        f"context length {shape.n_positions:,}, {shape.vocab_size:,} words in the vocabulary"
    )


def _evaluation_sections(run: RunRecord) -> dict[str, str]:
    """Return the sections of an evaluation, empty without one."""
    report = run.evaluation
    if report is None:
        return dict.fromkeys(("copying", "diversity", "conditioning", "provinces"), "")
    provinces = report.conditioning.existing_provinces if report.conditioning else None
    return {
        "copying": copying_table(report),
        "diversity": diversity_table(report),
        "conditioning": conditioning_table(run.config.data.prompt_fields, report),
        "provinces": "" if provinces is None else f"{provinces:.1%}",
    }


def _pretrain_command(run: RunRecord, name: str, revision: str) -> str:
    """Return the commands that train the model again."""
    metrics, folder = run.metrics, _download_folder(name)
    return (
        f"{_download(name, revision, CONFIG)}\n"
        f"{_launcher(metrics.training, metrics.environment)} scripts/pretrain.py {folder}/{CONFIG}{_data_option(run)}"
    )


def _finetune_command(run: RunRecord, subset_model: SubsetModel, base: str, revision: str) -> str:
    """Return the commands that fine-tune the model again; empty if its settings are not known."""
    if subset_model.config is None:
        return ""
    metrics, name = subset_model.metrics, subset_model.repository
    config = f"{_download_folder(name)}/{PUBLISHED_FINETUNE_CONFIG}"
    return (
        f"{_download(base, revision)}\n"
        f"{_download(name, revision, PUBLISHED_FINETUNE_CONFIG)}\n"
        f"{_launcher(metrics.training, metrics.environment)} scripts/finetune.py {config}{_data_option(run)}"
    )


def _download(name: str, revision: str, *files: str) -> str:
    branch = [] if revision == MAIN else ["--revision", revision]
    return shlex.join(["hf", "download", name, *files, *branch, "--local-dir", _download_folder(name)])


def _download_folder(name: str) -> str:
    return f"{DOWNLOADS}/{name.split('/')[1]}"


def _launcher(training: TrainingSummary, environment: Environment) -> str:
    """Return the beginning of a command with as many processes and threads as a run had."""
    is_cpu = environment.device.startswith("cpu")
    threads = f"OMP_NUM_THREADS={environment.threads} " if is_cpu else ""
    if training.processes == 1:
        return f"{threads}python"
    config = f"configs/accelerate/{'cpu_processes' if is_cpu else 'gpus'}.yaml"
    return f"{threads}accelerate launch --config_file {config} --num_processes {training.processes}"


def _has_own_data(run: RunRecord) -> bool:
    """Return whether the published config can't name the training texts."""
    path = run.config.data.path
    return path not in PUBLIC and not is_hub_dataset(path)


def _data_option(run: RunRecord) -> str:
    return " --data.path FILE" if _has_own_data(run) else ""


def _copy_check(copying: CopyCheck) -> str:
    return f"{copying.generated:.1f} words in generated texts, {copying.real:.1f} in held-out ones"


def subset_prompt(run: RunRecord, metrics: SubsetMetrics) -> str:
    """Return the subset's commonest header up to the field that the model was fine-tuned on.

    The header is in lower case, as the model prints it. Without that field in the prompt, the result is the prefix.
    """
    field, fields = metrics.field, run.template.fields
    if field not in fields:
        return run.template.prefix
    header = {**metrics.header, field: metrics.value}
    known = {name: header[name].lower() for name in fields[: fields.index(field) + 1] if name in header}
    return run.template.prompt(known)


# Any: a template's values are texts, lists, booleans and a Corpus
def _card(kind: type[CardT], data: CardData, template: str, **values: Any) -> CardT:  # noqa: ANN401
    return kind(fill(template, card_data=data.to_yaml(), **values))


def fill(template: str, **values: Any) -> str:  # noqa: ANN401
    """Fill a template of :data:`TEMPLATES`.

    Values are not searched for placeholders, because a text of the corpus may look like one.

    Raises:
        jinja2.UndefinedError: if a value is missing.
        ValueError: if a value would be printed as None or nan.
    """
    environment = TemplateEnvironment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        finalize=_require_value,
        keep_trailing_newline=True,
    )
    content = environment.get_template(template).render(values)
    # sections that are left out leave blank lines
    return re.sub(r"\n{3,}", "\n\n", content).rstrip() + "\n"


def _require_value(value: object) -> object:
    """Raise for a value that a template would print as None or nan."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(f"a card's template has no text for {value}")
    return value
