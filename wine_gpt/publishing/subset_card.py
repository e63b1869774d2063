"""Fill the card of a fine-tuned model, an adapter or a whole model."""

from collections.abc import Sequence

from huggingface_hub import ModelCard, ModelCardData

from wine_gpt.finetuning.results import CopyCheck, SubsetMetrics
from wine_gpt.markdown import escape
from wine_gpt.publishing.card_parts import (
    data_option,
    download,
    download_folder,
    emissions,
    eval_results,
    fill_card,
    launcher,
    shared_metadata,
    shared_values,
    string,
)
from wine_gpt.publishing.card_tables import finetuning_table, score_table
from wine_gpt.publishing.published_files import PUBLISHED_FINETUNE_CONFIG
from wine_gpt.publishing.run_record import RunRecord, SubsetModel
from wine_gpt.publishing.samples import Sample


def subset_card(
    run: RunRecord, subset_model: SubsetModel, base: str, revision: str, samples: Sequence[Sample] = ()
) -> ModelCard:
    """Return the card of a fine-tuned model, whose base is published as ``base``."""
    metrics = subset_model.metrics
    comparison = metrics.comparison
    # the tags of PEFT's own cards
    tags = ("lora", "transformers", f"base_model:adapter:{base}") if subset_model.is_adapter else ("finetuned",)
    data = ModelCardData(
        **shared_metadata(run.corpus, samples, *tags),
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
        evaluation=score_table("model", {"base": comparison.whole.base, "this one": comparison.whole.tuned}),
        change=comparison.whole.perplexity_change.as_percent(),
        after_header=comparison.after_header.perplexity_change.as_percent(),
        copying=_copy_check(metrics.copying) if metrics.copying else "",
        training=finetuning_table(subset_model),
        command=_finetune_command(run, subset_model, base, revision),
    )


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


def _copy_check(copying: CopyCheck) -> str:
    return f"{copying.generated:.1f} words in generated texts, {copying.real:.1f} in held-out ones"


def _finetune_command(run: RunRecord, subset_model: SubsetModel, base: str, revision: str) -> str:
    """Return the commands that fine-tune the model again; empty if its settings are not known."""
    if subset_model.config is None:
        return ""
    metrics, name = subset_model.metrics, subset_model.repository
    config = f"{download_folder(name)}/{PUBLISHED_FINETUNE_CONFIG}"
    return (
        f"{download(base, revision)}\n"
        f"{download(name, revision, PUBLISHED_FINETUNE_CONFIG)}\n"
        f"{launcher(metrics.training, metrics.environment)} scripts/finetune.py {config}{data_option(run)}"
    )
