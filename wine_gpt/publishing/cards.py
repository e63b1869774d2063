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

from wine_gpt.errors import UserError
from wine_gpt.finetuning.results import CopyCheck, SubsetMetrics
from wine_gpt.markdown import escape, fenced
from wine_gpt.modeling.scoring import Score
from wine_gpt.publishing.card_tables import (
    conditioning_table,
    copying_table,
    data_table,
    diversity_table,
    finetuning_table,
    score_table,
    subset_models_table,
    training_table,
)
from wine_gpt.publishing.corpus import Corpus, published_path
from wine_gpt.publishing.hub import MAIN
from wine_gpt.publishing.kept import Kept
from wine_gpt.publishing.run_record import ModelShape, RunRecord, SubsetModel
from wine_gpt.training.record import Sample
from wine_gpt.version import __version__

CardT = TypeVar("CardT", bound=RepoCard)

TEMPLATES = Path(__file__).parent / "templates"
NOTHING_KEPT = Kept()
# the Python version of the Space
PYTHON_VERSION = "3.11"
# the model in the demo's README.md, which the card replaces by the published one
README_MODEL = "org/wine-gpt"
# the Hub's limit, in characters
SHORT_DESCRIPTION_LENGTH = 60
# values of the prompts in the cards, for the class's dataset
EXAMPLE = {"country": "us", "province": "california"}
LICENSES = {
    "cc-by-nc-sa-4.0": ("CC BY-NC-SA 4.0", "https://creativecommons.org/licenses/by-nc-sa/4.0/"),
    "apache-2.0": ("Apache 2.0", "https://www.apache.org/licenses/LICENSE-2.0"),
}


def model_card(
    run: RunRecord,
    name: str,
    revision: str,
    subset_models: Sequence[SubsetModel],
    space: str | None,
    indexed: bool,
    onnx: bool = False,
    kept: Kept = NOTHING_KEPT,
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
    """
    data = ModelCardData(
        **_shared_metadata(run.corpus, *(("onnx", "transformers.js") if onnx else ())),
        library_name="transformers",
        pipeline_tag="text-generation",
        metrics=["perplexity"],
        model_name=name.split("/")[1],
        eval_results=_eval_results(run.corpus, run.metrics.test, run.corpus.name),
        adapters=[*(model.repository for model in subset_models if model.is_adapter), *kept.adapters] or None,
    )
    return _card(
        ModelCard,
        data,
        "model.md",
        **_shared(run, name, revision),
        onnx=onnx,
        space=space or "",
        subset_models=subset_models_table(subset_models, kept.rows),
        field=subset_models[0].metrics.field if subset_models else kept.field,
        samples=[fenced(sample.text) for sample in _best_samples(run)],
        sampling=_sampling(run),
        architecture=_architecture(run.shape),
        data_rows=data_table(run.data_report) if run.data_report else "",
        training=training_table(run),
        evaluation=score_table("split", {"test": run.metrics.test, "validation": run.metrics.validation}),
        indexed=indexed,
        **_evaluation_sections(run),
        plots=run.plots,
        command=_pretrain_command(run),
    )


def subset_card(run: RunRecord, subset_model: SubsetModel, base: str, revision: str) -> ModelCard:
    """Return the card of a fine-tuned model, whose base is published as ``base``."""
    metrics = subset_model.metrics
    comparison = metrics.comparison
    data = ModelCardData(
        **_shared_metadata(run.corpus, "lora" if subset_model.is_adapter else "finetuned"),
        library_name="peft" if subset_model.is_adapter else "transformers",
        pipeline_tag="text-generation",
        base_model=base,
        base_model_relation="adapter" if subset_model.is_adapter else "finetune",
        metrics=["perplexity"],
        model_name=subset_model.repository.split("/")[1],
        eval_results=_eval_results(run.corpus, comparison.whole.tuned, f"{run.corpus.name}, {metrics.value}"),
    )
    return _card(
        ModelCard,
        data,
        "subset.md",
        **_shared(run, subset_model.repository, revision),
        base=base,
        field=escape(metrics.field),
        value=escape(metrics.value),
        is_adapter=subset_model.is_adapter,
        evaluation=score_table("model", {"base": comparison.whole.base, "this one": comparison.whole.tuned}),
        change=comparison.whole.perplexity_change.as_percent(),
        after_header=comparison.after_header.perplexity_change.as_percent(),
        copying=_copy_check(metrics.copying) if metrics.copying else "",
        training=finetuning_table(metrics),
        python_prompt=json.dumps(_subset_prompt(run, metrics), ensure_ascii=False),
        command=_finetune_command(run, subset_model, base),
    )


def space_card(
    run: RunRecord, readme: Path, model: str, subset_models: Sequence[SubsetModel], kept: Sequence[str] = ()
) -> SpaceCard:
    """Return the demo's card, whose metadata configures the Space on the Hub.

    Args:
        run: of the model that the demo loads.
        readme: the demo's README.md.
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
            "models": [model, *(subset_model.repository for subset_model in subset_models), *kept],
            "tags": ["text-generation", "gpt2", *_subject_tags(corpus)],
        }
    )
    text = card.text.strip().replace(README_MODEL, model)
    values = {"text": text, "model": model, "corpus": corpus, "license": _license(corpus), "prefix": escape(prefix)}
    return _card(SpaceCard, data, "space.md", **values)


def _neutral_metadata(model: str, prefix: str) -> dict[str, str]:
    """Return the metadata that the demo's README.md has in wine's words, for another corpus."""
    named = f"A small GPT-2 writes “{prefix}” texts and shows why"
    short = named if prefix and len(named) <= SHORT_DESCRIPTION_LENGTH else "A small GPT-2 writes texts and shows why"
    return {"title": model.split("/")[1], "emoji": "📝", "short_description": short}


def license_notice(run: RunRecord) -> str:
    """Return the LICENSE file of a repository with weights."""
    corpus, (license, url) = run.corpus, LICENSES.get(run.corpus.license, (run.corpus.license, None))
    source = f" ({corpus.page})" if corpus.page else ""
    lines = [f"The weights and the vocabulary in this repository were learned from {corpus.name}{source}."]
    if corpus.page:
        lines.append(f"That dataset is licensed under {license}, and so are the weights and the vocabulary.")
    else:
        lines.append(f"They are published under the license {license}.")
    return "\n".join([*lines, *([f"The text of the license: {url}"] if url else [])]) + "\n"


def check(card: RepoCard, title: str) -> None:
    """Check a card's metadata without the Hub.

    Raises:
        UserError: if the Hub would refuse the metadata.
    """
    data = card.data.to_dict()
    for name, value in data.items():
        if value in ("", [], {}):
            raise UserError(f"{title}: the card's {name} is empty")
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", data.get("license", "")):
        raise UserError(f"{title}: {data.get('license')!r} is no license identifier such as mit, cc-by-4.0 or other")
    if len(data.get("short_description", "")) > SHORT_DESCRIPTION_LENGTH:
        raise UserError(f"{title}: short_description has more than {SHORT_DESCRIPTION_LENGTH} characters")


# metadata


# Any: the metadata's values are texts, lists and None
def _shared_metadata(corpus: Corpus, *tags: str) -> dict[str, Any]:
    return {
        "language": "en" if corpus.wine else None,
        "license": corpus.license,
        "datasets": [corpus.dataset] if corpus.dataset else None,
        "tags": ["gpt2", "word-level", *tags, *_subject_tags(corpus)],
    }


def _subject_tags(corpus: Corpus) -> list[str]:
    return [tag for tag, applies in (("wine", corpus.wine), ("synthetic", corpus.synthetic)) if applies]


def _eval_results(corpus: Corpus, score: Score | None, data_name: str) -> list[EvalResult] | None:
    if score is None or not math.isfinite(score.perplexity):
        return None
    return [
        EvalResult(
            task_type="text-generation",
            task_name="Text generation",
            dataset_type=corpus.dataset or "text",
            dataset_name=data_name,
            dataset_split="test",
            metric_type=metric,
            metric_name=name,
            metric_value=value,
        )
        for metric, name, value in (
            ("perplexity", "Perplexity", score.perplexity),
            ("nats_per_word", "Nats per word", score.nats_per_word),
        )
    ]


# sections


def _shared(run: RunRecord, name: str, revision: str) -> dict[str, object]:
    template, packages = run.template, run.metrics.environment.packages
    return {
        "name": name,
        "title": name.split("/")[1],
        "revision": "" if revision == MAIN else f', revision="{revision}"',
        "corpus": run.corpus,
        "pattern": template.render({column: column for column in template.columns}),
        "texts": "wine reviews" if run.corpus.wine else "texts",
        "prompt": template.prompt({"country": "italy"} if run.corpus.wine else {}),
        "parameters": f"{run.metrics.parameters:,}",
        "version": packages.get("wine_gpt") or __version__,
        "license": _license(run.corpus),
    }


def _license(corpus: Corpus) -> str:
    name, url = LICENSES.get(corpus.license, (corpus.license, None))
    return f"[{name}]({url})" if url else name


def _best_samples(run: RunRecord) -> list[Sample]:
    """Return the samples of the best epoch, whose weights are published."""
    return [sample for sample in run.samples if sample.epoch == run.metrics.training.best_epoch and sample.text]


def _sampling(run: RunRecord) -> str:
    """Return prompt, sampling settings and seed of the samples."""
    generation = run.generation
    settings = [f'prompt "{run.template.prefix}"', f"temperature {generation.temperature:g}"]
    if generation.top_p < 1:
        settings.append(f"top_p {generation.top_p:g}")
    if generation.top_k > 0:
        settings.append(f"top_k {generation.top_k}")
    # the trainer seeds each epoch's samples by the step
    settings += [f"seed {run.config.training.seed + sample.step}" for sample in _best_samples(run)[:1]]
    return ", ".join(settings)


def _architecture(shape: ModelShape) -> str:
    inner = 4 * shape.n_embd if shape.n_inner is None else shape.n_inner
    return (
        f"{shape.n_layer:,} layers, {shape.n_head:,} heads, width {shape.n_embd:,}, feed-forward width {inner:,}, "
        f"{shape.n_positions:,} positions, {shape.vocab_size:,} words in the vocabulary"
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


def _pretrain_command(run: RunRecord) -> str:
    return f"accelerate launch scripts/pretrain.py config.yaml{_data_option(run)}"


def _finetune_command(run: RunRecord, subset_model: SubsetModel, base: str) -> str:
    folder = f"runs/{base.split('/')[1]}"
    metrics = subset_model.metrics
    subset = f"--field {shlex.quote(metrics.field)} --value {shlex.quote(metrics.value)}"
    return (
        f"hf download {base} --local-dir {folder}\n"
        f"python scripts/finetune.py configs/finetune/{metrics.method}.yaml "
        f"--base {folder} {subset}{_data_option(run)}"
    )


def _data_option(run: RunRecord) -> str:
    """Return the option that names the data file, unless the published config names a public dataset."""
    known = published_path(run.config.data.path) == run.config.data.path
    return "" if known else " --data.path FILE"


def _copy_check(copying: CopyCheck) -> str:
    return f"{copying.generated:.1f} words in generated texts, {copying.real:.1f} in held-out ones"


def _subset_prompt(run: RunRecord, metrics: SubsetMetrics) -> str:
    """Return a prompt that ends with the field that the model was fine-tuned on."""
    field, fields = metrics.field, run.template.fields
    if field not in fields:
        return run.template.prefix
    known = EXAMPLE if run.corpus.wine else {}
    before = {name: known[name] for name in fields[: fields.index(field)] if name in known}
    return run.template.prompt({**before, field: metrics.value.lower()})


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
