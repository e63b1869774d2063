"""Fill the card of a fine-tuned model, an adapter or a whole model."""

import math
from collections.abc import Sequence

from huggingface_hub import ModelCard, ModelCardData

from wine_gpt.finetuning.results import FEW_REVIEWS, CopyCheck, SubsetMetrics
from wine_gpt.markdown import escape
from wine_gpt.publishing.card_parts import (
    download,
    download_folder,
    emissions,
    eval_results,
    fill_card,
    repeat_command,
    shared_metadata,
    shared_values,
    string,
)
from wine_gpt.publishing.card_tables import change_after_header, compare_spans, finetuning_table, score_table
from wine_gpt.publishing.published_files import PUBLISHED_FINETUNE_CONFIG
from wine_gpt.publishing.run_record import RunRecord, SubsetModel
from wine_gpt.publishing.samples import Sample


def subset_card(
    run: RunRecord, subset_model: SubsetModel, base: str, revision: str, samples: Sequence[Sample] = ()
) -> ModelCard:
    """Return the card of a fine-tuned model, whose base is published as ``base``."""
    metrics = subset_model.metrics
    comparison = metrics.comparison
    # neither model predicts a field that is in no header
    in_header = metrics.field in run.template.fields
    # the tags of PEFT's own cards
    tags = ("lora", "transformers", f"base_model:adapter:{base}") if subset_model.is_adapter else ("finetuned",)
    data = ModelCardData(
        **shared_metadata(run, samples, *tags),
        library_name="peft" if subset_model.is_adapter else "transformers",
        pipeline_tag="text-generation",
        base_model=base,
        base_model_relation="adapter" if subset_model.is_adapter else "finetune",
        model_name=subset_model.repository.split("/")[1],
        eval_results=eval_results(run.corpus, comparison.whole.tuned, f"{run.corpus.name}, {metrics.value}"),
        co2_eq_emissions=emissions(metrics.training, metrics.environment, "fine-tuning"),
    )
    return fill_card(
        ModelCard,
        data,
        "subset.md",
        **shared_values(run, subset_model.repository, revision, samples),
        prompt=string(subset_prompt(run, metrics)),
        base=base,
        field=escape(metrics.field),
        value=escape(metrics.value),
        is_adapter=subset_model.is_adapter,
        in_header=in_header,
        evaluation=score_table("model", {"base": comparison.whole.base, "this one": comparison.whole.tuned}),
        ceiling=_ceiling(metrics) if in_header else "",
        value_tells=_value_tells(metrics),
        change=comparison.whole.perplexity_change.as_percent(),
        after_header=change_after_header(comparison),
        test_texts=f"{comparison.whole.tuned.reviews:,}",
        few_texts=FEW_REVIEWS,
        copying=_copying(metrics.copying) if metrics.copying else "",
        training=finetuning_table(subset_model),
        **_finetune_command(run, subset_model, base, revision),
    )


def subset_prompt(run: RunRecord, metrics: SubsetMetrics) -> str:
    """Return the subset's commonest header up to the field that the model was fine-tuned on.

    The values are spelled as the model prints them. Without that field in the prompt, the result is the prefix.
    """
    field, fields = metrics.field, run.template.fields
    if field not in fields:
        return run.template.prefix
    header = {**metrics.header, field: metrics.value}
    known = {name: header[name] for name in fields[: fields.index(field) + 1] if name in header}
    return run.template.prompt({name: value.lower() if run.lower_case else value for name, value in known.items()})


def _ceiling(metrics: SubsetMetrics) -> str:
    """Return the change beside what knowing the subset's value can give; empty if that is nothing."""
    comparison = metrics.comparison
    if comparison.ceiling is None or comparison.ceiling_reached is None:
        return ""
    field, value = escape(metrics.field), escape(metrics.value)
    return (
        f"Of the training texts, {comparison.train_fraction:.1%} have the {field} {value}. A model that knows the "
        f"{field} from the start saves the loss of predicting it. If the base gives the value exactly its frequency "
        f"as probability, this changes the perplexity of whole texts by {comparison.ceiling:+.1%}, and this model "
        f"reaches {comparison.ceiling_reached:.0%} of that."
    )


def _value_tells(metrics: SubsetMetrics) -> str:
    """Return how much the value in the header tells the base; empty if that was not measured, or on no word."""
    hidden, field = metrics.comparison.value_hidden, escape(metrics.field)
    if hidden is None or not math.isfinite(hidden.base.perplexity):
        return ""
    return (
        f"With the unknown word in place of the {field} in the header, the base's running text has a perplexity of "
        f"{hidden.base.perplexity:,.2f}; naming the {field} changes it by {hidden.perplexity_change.as_percent()}."
    )


def _copying(copying: CopyCheck) -> str:
    """Return what the spans in common with training texts show."""
    comparison = compare_spans(copying.generated, copying.real)
    words = f"the longest has {copying.generated:.1f} and {copying.real:.1f} words on average"
    return f"{comparison}: {words}." if comparison else ""


def _finetune_command(run: RunRecord, subset_model: SubsetModel, base: str, revision: str) -> dict[str, str]:
    """Return how to fine-tune the model again."""
    metrics, name = subset_model.metrics, subset_model.repository
    config = f"{download_folder(name)}/{PUBLISHED_FINETUNE_CONFIG}"
    downloads = [download(base, revision), download(name, revision, PUBLISHED_FINETUNE_CONFIG)]
    script = f"scripts/finetune.py {config}"
    return repeat_command(run, downloads, script, metrics.training, metrics.environment, ["adapters"])
