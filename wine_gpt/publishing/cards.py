"""Cards that fill themselves: what a run left, in the words and the metadata that the Hub shows.

A figure that is missing drops its line, and a section without lines is left out.
"""

import html
import importlib.metadata
import json
import math
import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import CardData, EvalResult, ModelCard, ModelCardData, RepoCard, SpaceCard, SpaceCardData

from wine_gpt.config_io import to_flat
from wine_gpt.errors import UserError
from wine_gpt.publishing.run_record import Corpus, Figures, Run, SubsetModel, published_path, revision_note

CardT = TypeVar("CardT", bound=RepoCard)

TEMPLATES = Path(__file__).parent / "templates"
# what the demo was tested with
PYTHON_VERSION = "3.11"
# the Hub takes no longer one
SHORT_DESCRIPTION_LENGTH = 60
# what the prompts of the cards name, in the words of the class's data set
EXAMPLE = {"country": "us", "province": "california"}
# one line for each of the versions that decide what a run computes
SHOWN_PACKAGES = ("wine_gpt", "torch", "transformers", "tokenizers", "datasets", "accelerate")
SHOWN_SETTINGS = {
    "training.batch_tokens": "positions in a batch",
    "training.optimizer": "optimizer",
    "training.learning_rate": "peak learning rate",
    "training.weight_decay": "weight decay",
    "model.dropout": "dropout",
    "training.seed": "seed",
}
LICENSES = {
    "cc-by-nc-sa-4.0": ("CC BY-NC-SA 4.0", "https://creativecommons.org/licenses/by-nc-sa/4.0/"),
    "apache-2.0": ("Apache 2.0", "https://www.apache.org/licenses/LICENSE-2.0"),
}


def model_card(
    run: Run,
    name: str,
    revision: str,
    subset_models: Sequence[SubsetModel],
    space: str | None,
    indexed: bool,
    onnx: bool = False,
) -> ModelCard:
    """Return the card of a run's model.

    Args:
        run: with or without an evaluation.
        name: of its repository.
        revision: the branch it is published to.
        subset_models: fine-tuned models that are published with it.
        space: the demo's repository, if there is one.
        indexed: whether the index of the training texts is published with it.
        onnx: whether its ONNX file is.
    """
    data = ModelCardData(
        **_shared_metadata(run.corpus, *(("onnx", "transformers.js") if onnx else ())),
        library_name="transformers",
        pipeline_tag="text-generation",
        metrics=["perplexity"],
        model_name=name.split("/")[1],
        eval_results=_eval_results(run, run.metrics.get("test", {}), run.corpus.name),
        adapters=[subset_model.repository for subset_model in subset_models if subset_model.is_adapter] or None,
    )
    return _card(
        ModelCard,
        data,
        "model.md",
        **_shared(run, name, revision),
        onnx=onnx,
        space=space,
        subset_models=_subsets_table(subset_models),
        field=subset_models[0].metrics["field"] if subset_models else None,
        samples=_samples(run),
        sampling=_sampling(run),
        architecture=_architecture(run),
        data_rows=_data_table(run.report),
        training=_training_table(run),
        evaluation=_evaluation_table(run),
        copying=_copying_table(run.evaluation),
        indexed=indexed,
        diversity=_diversity_table(run.evaluation),
        conditioning=_conditioning_table(run),
        provinces=_figure(run.evaluation, "conditioning.existing_provinces", "{:.1%}"),
        plots=run.plots,
        command=_pretrain_command(run),
    )


def subset_card(run: Run, subset_model: SubsetModel, base: str, revision: str) -> ModelCard:
    """Return the card of a fine-tuned model, whose base is published as ``base``."""
    metrics = subset_model.metrics
    data = ModelCardData(
        **_shared_metadata(run.corpus, "lora" if subset_model.is_adapter else "finetuned"),
        library_name="peft" if subset_model.is_adapter else "transformers",
        pipeline_tag="text-generation",
        base_model=base,
        base_model_relation="adapter" if subset_model.is_adapter else "finetune",
        metrics=["perplexity"],
        model_name=subset_model.repository.split("/")[1],
        eval_results=_eval_results(run, metrics.get("test", {}), f"{run.corpus.name}, {subset_model.value}"),
    )
    return _card(
        ModelCard,
        data,
        "subset.md",
        **_shared(run, subset_model.repository, revision),
        base=base,
        field=_text(metrics["field"]),
        value=_text(subset_model.value),
        is_adapter=subset_model.is_adapter,
        evaluation=_subset_table(metrics),
        change=_change(metrics["perplexity_change"]),
        after_header=_after_header(metrics),
        training=_finetuning_table(metrics),
        python_prompt=json.dumps(_subset_prompt(run, subset_model), ensure_ascii=False),
        command=_finetune_command(run, subset_model, base),
    )


def space_card(run: Run, own: Path, model: str, subset_models: Sequence[SubsetModel]) -> SpaceCard:
    """Return the demo's card, whose metadata the Hub configures the Space by.

    Args:
        run: of the model that it shows.
        own: the demo's README.md, which says what it is and what it runs on.
        model: the model's repository.
        subset_models: fine-tuned models that are published with it.
    """
    card = SpaceCard.load(own)
    data = SpaceCardData(
        **{
            **card.data.to_dict(),
            "python_version": PYTHON_VERSION,
            "models": [model, *(subset_model.repository for subset_model in subset_models)],
            "tags": ["text-generation", "gpt2", *_subject_tags(run.corpus)],
        }
    )
    values = {"text": card.text.strip(), "model": model, "corpus": run.corpus, **_license(run)}
    return _card(SpaceCard, data, "space.md", **values)


def license_notice(run: Run) -> str:
    """Return the LICENSE file that goes with the weights."""
    corpus, (license, url) = run.corpus, LICENSES.get(run.corpus.license, (run.corpus.license, None))
    source = f" ({corpus.page})" if corpus.page else ""
    lines = [f"The weights and the vocabulary in this repository were learned from {corpus.name}{source}."]
    if corpus.page:
        lines.append(
            f"That data set is licensed under {license}; what was learned from it is published under the same."
        )
    else:
        lines.append(f"They are published under the licence {license}.")
    return "\n".join([*lines, *([f"The licence's text: {url}"] if url else [])]) + "\n"


def check(card: RepoCard, title: str) -> None:
    """Check what can be checked of a card without the Hub.

    Raises:
        UserError: if the metadata hold what the Hub would refuse, or the text has a hole.
    """
    data = card.data.to_dict()
    for name, value in data.items():
        if value in ("", [], {}):
            raise UserError(f"{title}: the card's {name} is empty")
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", data.get("license", "")):
        raise UserError(f"{title}: {data.get('license')!r} is no licence's identifier: mit, cc-by-4.0, other …")
    if len(data.get("short_description", "")) > SHORT_DESCRIPTION_LENGTH:
        raise UserError(f"{title}: short_description has more than {SHORT_DESCRIPTION_LENGTH} characters")
    hole = re.search(r"\{\{|\{%|\bNone\b|\bnan\b", card.text)
    if hole:
        raise UserError(f"{title}: the card's text has a hole: {hole[0]}")


# metadata


def _shared_metadata(corpus: Corpus, *tags: str) -> dict[str, Any]:
    return {
        "language": "en" if corpus.wine else None,
        "license": corpus.license,
        "datasets": [corpus.dataset] if corpus.dataset else None,
        "tags": ["gpt2", "word-level", *tags, *_subject_tags(corpus)],
    }


def _subject_tags(corpus: Corpus) -> list[str]:
    return [tag for tag, applies in (("wine", corpus.wine), ("synthetic", corpus.synthetic)) if applies]


def _eval_results(run: Run, figures: Figures, data_name: str) -> list[EvalResult] | None:
    wanted = {"perplexity": "Perplexity", "nats_per_word": "Nats per word"}
    results = [
        EvalResult(
            task_type="text-generation",
            task_name="Text generation",
            dataset_type=run.corpus.dataset or "text",
            dataset_name=data_name,
            dataset_split="test",
            metric_type=key,
            metric_name=label,
            metric_value=figures[key],
        )
        for key, label in wanted.items()
        if _number(figures, key) is not None
    ]
    return results or None


# the text's parts


def _shared(run: Run, name: str, revision: str) -> dict[str, Any]:
    template = run.template
    return {
        "name": name,
        "title": name.split("/")[1],
        "revision": revision_note(revision),
        "corpus": run.corpus,
        "pattern": template.render({column: column for column in template.columns}),
        "texts": "wine reviews" if run.corpus.wine else "texts",
        "prompt": template.prompt({"country": "italy"} if run.corpus.wine else {}),
        "parameters": _figure(run.metrics, "parameters", "{:,}"),
        "version": run.metrics.get("environment", {}).get("packages", {}).get("wine_gpt")
        or importlib.metadata.version("wine_gpt"),
        **_license(run),
    }


def _license(run: Run) -> dict[str, Any]:
    name, url = LICENSES.get(run.corpus.license, (run.corpus.license, None))
    return {"license": f"[{name}]({url})" if url else name}


def _samples(run: Run) -> list[str]:
    """Return the texts sampled from the published weights: those of the best epoch."""
    epoch = run.metrics.get("training", {}).get("best_epoch")
    return [_fenced(sample["text"]) for sample in run.samples if sample.get("epoch") == epoch and sample.get("text")]


def _sampling(run: Run) -> str:
    """Return the settings that the samples were made with: the model's own, its prompt, and the trainer's seed."""
    epoch = run.metrics.get("training", {}).get("best_epoch")
    step = next((sample["step"] for sample in run.samples if sample.get("epoch") == epoch), None)
    # what each of them is where it changes nothing
    names = {"temperature": None, "top_p": 1, "top_k": 0}
    settings = [
        f"{name} {run.generation[name]:g}" for name, idle in names.items() if run.generation.get(name, idle) != idle
    ]
    if step is not None:
        settings.append(f"seed {run.config.training.seed + step}")
    return ", ".join([f'prompt "{run.template.prefix}"', *settings])


def _architecture(run: Run) -> str:
    shape = run.shape
    parts = [
        ("layers", "n_layer"),
        ("heads", "n_head"),
        ("wide", "n_embd"),
        ("wide in the feed-forward layer", "n_inner"),
        ("positions", "n_positions"),
        ("words in the vocabulary", "vocab_size"),
    ]
    return ", ".join(f"{shape[key]:,} {label}" for label, key in parts if _number(shape, key) is not None)


def _subsets_table(subset_models: Sequence[SubsetModel]) -> str:
    header = ("", "model", "test perplexity before", "after", "change", "change of the running text's")
    rows = [
        (
            _text(subset_model.value),
            f"[{subset_model.repository}](https://huggingface.co/{subset_model.repository})",
            _figure(subset_model.metrics, "base_test.perplexity", "{:.1f}"),
            _figure(subset_model.metrics, "test.perplexity", "{:.1f}"),
            _change(subset_model.metrics["perplexity_change"]),
            _after_header(subset_model.metrics) or "not measured",
        )
        for subset_model in subset_models
    ]
    return _table(header, rows)


def _data_table(report: Figures) -> str:
    wanted = [
        ("records read", "read"),
        ("blank", "blank"),
        *((f"without {field}", f"dropped.{field}") for field in report.get("dropped", {})),
        ("duplicates, removed before the split", "duplicates"),
        ("kept", "kept"),
        ("for training", "splits.train"),
        ("for validation", "splits.validation"),
        ("for the test", "splits.test"),
    ]
    return _table(("records", "number"), [(label, _figure(report, key, "{:,}")) for label, key in wanted])


def _training_table(run: Run) -> str:
    training = run.metrics.get("training", {})
    settings = to_flat(run.config)
    precision = training.get("mixed_precision")
    rows = [
        ("epochs", _best_epoch(training)),
        ("optimizer steps", _figure(training, "steps", "{:,}")),
        ("tokens seen", _figure(training, "tokens", "{:,}")),
        *((label, _shown(settings[key])) for key, label in SHOWN_SETTINGS.items()),
        ("time", _duration(_number(training, "seconds"))),
        ("tokens per second", _figure(training, "tokens_per_second", "{:,}")),
        ("precision", {"no": "float32"}.get(precision, f"{precision}, mixed with float32") if precision else None),
        *_machine(run.metrics),
    ]
    return _table(("", ""), rows)


def _machine(metrics: Figures) -> list[tuple[str, str | None]]:
    """Return the lines on what a run ran on."""
    environment = metrics.get("environment", {})
    packages = environment.get("packages", {})
    versions = ", ".join(f"{name} {packages[name]}" for name in SHOWN_PACKAGES if name in packages)
    memory = _number(metrics, "peak_memory_bytes.resident")
    return [
        ("energy", _figure(metrics, "training.energy_kwh", "{:.2g} kWh, as codecarbon estimates")),
        ("device", environment.get("device")),
        ("threads", _figure(environment, "threads", "{:,}")),
        ("processes", _figure(metrics, "training.processes", "{:,}")),
        ("peak memory", f"{memory / 1e9:.2f} GB" if memory else None),
        ("versions", versions or None),
    ]


def _best_epoch(training: Figures) -> str | None:
    epochs = training.get("epochs", [])
    best = training.get("best_epoch")
    return f"{len(epochs)}, of which number {best} had the lowest validation loss" if epochs and best else None


def _evaluation_table(run: Run) -> str:
    header = ("split", "nats per word", "perplexity", "unknown words", "words", "texts")
    rows = [_score_row(split, run.metrics.get(split, {})) for split in ("test", "validation")]
    return _table(header, rows)


def _score_row(label: str, score: Figures) -> tuple[str | None, ...]:
    return (
        label,
        _figure(score, "nats_per_word", "{:.3f}"),
        _figure(score, "perplexity", "{:.1f}"),
        _figure(score, "unknown_rate", "{:.1%}"),
        _figure(score, "words", "{:,}"),
        _figure(score, "reviews", "{:,}"),
    )


def _copying_table(evaluation: Figures) -> str:
    header = ("texts", "number", "longest run, mean", "of 10 words or more", "of 15", "of 20")
    keys = {
        "texts": "{:,}",
        "mean_longest": "{:.1f} words",
        "share_10": "{:.1%}",
        "share_15": "{:.1%}",
        "share_20": "{:.1%}",
    }
    return _section_table(
        evaluation,
        "copying",
        header,
        keys,
        {
            "generated": "generated",
            "continued": "generated from the beginnings of training texts",
            "real": "held-out texts",
        },
    )


def _diversity_table(evaluation: Figures) -> str:
    header = ("texts", "distinct words", "distinct pairs", "distinct triples", "words a text")
    keys = {"distinct_1": "{:.3f}", "distinct_2": "{:.3f}", "distinct_3": "{:.3f}", "mean_length": "{:.1f}"}
    return _section_table(evaluation, "diversity", header, keys, {"generated": "generated", "real": "held-out texts"})


def _conditioning_table(run: Run) -> str:
    measured = run.evaluation.get("conditioning", {}).get("generated", {})
    fields = [field for field in run.config.data.prompt_fields if field in measured]
    return _section_table(
        run.evaluation,
        "conditioning",
        ("texts", *fields),
        dict.fromkeys(fields, "{:.1%}"),
        {"generated": "generated", "real": "held-out texts", "commonest": "always the commonest guess"},
    )


def _section_table(
    evaluation: Figures, section: str, header: Sequence[str], keys: dict[str, str], labels: dict[str, str]
) -> str:
    """Return a section of the evaluation with a row for each kind of text; nothing if nothing was measured."""
    if not keys:
        return ""
    rows = [
        (label, *(_figure(evaluation, f"{section}.{kind}.{key}", form) for key, form in keys.items()))
        for kind, label in labels.items()
    ]
    return _table(header, rows)


def _pretrain_command(run: Run) -> str:
    return f"accelerate launch scripts/pretrain.py config.yaml{_data_option(run)}"


def _finetune_command(run: Run, subset_model: SubsetModel, base: str) -> str:
    folder = f"runs/{base.split('/')[1]}"
    config = "lora" if subset_model.is_adapter else "full"
    value = f"--field {subset_model.metrics['field']} --value {shlex.quote(subset_model.value)}"
    return (
        f"hf download {base} --local-dir {folder}\n"
        f"python scripts/finetune.py configs/finetune/{config}.yaml --base {folder} {value}{_data_option(run)}"
    )


def _data_option(run: Run) -> str:
    """Return the option that says where the texts are, if the published config can't."""
    known = published_path(run.config.data.path) == run.config.data.path
    return "" if known else " --data.path FILE"


def _subset_table(metrics: Figures) -> str:
    header = ("model", "nats per word", "perplexity", "unknown words", "words", "texts")
    rows = [_score_row(label, metrics.get(key, {})) for label, key in (("base", "base_test"), ("this one", "test"))]
    return _table(header, rows)


def _finetuning_table(metrics: Figures) -> str:
    size = _number(metrics, "size_bytes")
    rows = [
        ("texts for training", _figure(metrics, "reviews.train", "{:,}")),
        ("texts for validation", _figure(metrics, "reviews.validation", "{:,}")),
        ("texts for the test", _figure(metrics, "reviews.test", "{:,}")),
        ("time", _duration(_number(metrics, "seconds"))),
        ("size", f"{size / 1e6:,.2f} MB" if size else None),
        *_machine(metrics),
    ]
    return _table(("", ""), rows)


def _change(change: Figures) -> str | None:
    value = _figure(change, "value", "{:+.1%}")
    low, high = _figure(change, "low", "{:+.1%}"), _figure(change, "high", "{:+.1%}")
    return f"{value} ({low} to {high})" if value and low and high else value


def _after_header(metrics: Figures) -> str | None:
    """Return the change where the header, which names the value, tells the base as much."""
    return _change(metrics.get("after_header", {}).get("perplexity_change", {}))


def _subset_prompt(run: Run, subset_model: SubsetModel) -> str:
    """Return the beginning of a text up to the field that the model was fine-tuned on."""
    field, fields = subset_model.metrics["field"], run.template.fields
    if field not in fields:
        return run.template.prefix
    known = EXAMPLE if run.corpus.wine else {}
    before = {name: known[name] for name in fields[: fields.index(field)] if name in known}
    return run.template.prompt({**before, field: subset_model.value.lower()})


# figures and Markdown


def _number(figures: Figures, path: str) -> float | None:
    """Return a finite number by its dotted path."""
    value: Any = figures
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if good else None


def _figure(figures: Figures, path: str, form: str) -> str | None:
    value = _number(figures, path)
    return None if value is None else form.format(value)


def _shown(setting: float | str) -> str:
    return setting if isinstance(setting, str) else f"{setting:,}"


def _duration(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _table(header: Sequence[str], rows: Iterable[Sequence[str | None]]) -> str:
    """Return a Markdown table of the rows that have all their cells; nothing if none has."""
    lines = [f"| {' | '.join(str(cell) for cell in row)} |" for row in rows if all(row)]
    if not lines:
        return ""
    return "\n".join([f"| {' | '.join(header)} |", "|---" * len(header) + "|", *lines])


def _text(value: str) -> str:
    """Return a value as plain text in Markdown, also inside a table."""
    return re.sub(r"([\\`*_\[\]|])", r"\\\1", html.escape(value, quote=False))


def _fenced(text: str) -> str:
    """Return a text in a code block, where nothing of it is markup."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def _card(kind: type[CardT], data: CardData, template: str, **values: Any) -> CardT:  # noqa: ANN401
    """Fill a template; lines that turned out empty leave no gap."""
    card = kind.from_template(data, template_path=str(TEMPLATES / template), **values)
    return kind(re.sub(r"\n{3,}", "\n\n", str(card)).rstrip() + "\n")
