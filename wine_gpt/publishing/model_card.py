"""Fill the model's card with a run's figures and settings; a section without figures is left out."""

import dataclasses
from collections.abc import Collection, Sequence

from huggingface_hub import ModelCard, ModelCardData

from wine_gpt.data.kaggle import KAGGLE_FILES
from wine_gpt.data.sources import SAMPLE_PATH
from wine_gpt.finetuning.results import FEW_REVIEWS
from wine_gpt.markdown import code, escape, table
from wine_gpt.publishing.card_parts import (
    counted,
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
from wine_gpt.publishing.card_tables import (
    Section,
    baselines_table,
    conditioning_section,
    copying_section,
    data_table,
    distillation_text,
    diversity_section,
    figure,
    generated_texts,
    score_table,
    subset_models_table,
    training_table,
)
from wine_gpt.publishing.hub import MAIN
from wine_gpt.publishing.kept import NOTHING_KEPT, Kept
from wine_gpt.publishing.published_files import EPOCH_FILES, NGRAM_INDEX, ONNX, ONNX_QUANTIZED
from wine_gpt.publishing.run_record import ModelShape, RunRecord, SubsetModel
from wine_gpt.publishing.samples import Sample, example_prompt
from wine_gpt.publishing.source import source_url
from wine_gpt.run_folder import CONFIG, WEIGHTS
from wine_gpt.tokenizer.schemes import BPE, CHARACTERS, WORDS

# files of a model's repository that the card describes if they are there
OPTIONAL_FILES = (NGRAM_INDEX, ONNX, ONNX_QUANTIZED, EPOCH_FILES[0])
TOKENIZERS = {
    WORDS: "word-level: a token is a word or a punctuation mark",
    CHARACTERS: "character-level: a token is a character",
    BPE: "byte-pair encoding: a token is a word or a piece of one",
}


def model_card(
    run: RunRecord,
    name: str,
    revision: str = MAIN,
    samples: Sequence[Sample] = (),
    *,
    space: str | None = None,
    subset_models: Sequence[SubsetModel] = (),
    optional_files: Collection[str] = (),
    kept: Kept = NOTHING_KEPT,
) -> ModelCard:
    """Return the card of a run's model.

    Args:
        run: with or without an evaluation.
        name: org/name of the model's repository.
        revision: the branch that the model is published to.
        samples: texts of the published weights.
        space: the demo's repository; None without one.
        subset_models: the fine-tuned models that are published with the model.
        optional_files: which of :data:`OPTIONAL_FILES` the repository has.
        kept: what an earlier publish has uploaded and the card still lists.
    """
    onnx, quantized = ONNX in optional_files, ONNX_QUANTIZED in optional_files
    data = ModelCardData(
        **shared_metadata(run, samples, *(("onnx", "transformers.js") if onnx else ())),
        library_name="transformers",
        pipeline_tag="text-generation",
        model_name=name.split("/")[1],
        # a refit has no entry in the Hub's model index, because its own weights were not scored
        eval_results=None if run.metrics.refit else eval_results(run.corpus, run.metrics.test, run.corpus.name),
        # the demo reads this key, which is not one of the Hub's
        adapters=[*(model.repository for model in subset_models if model.is_adapter), *kept.adapters] or None,
        co2_eq_emissions=emissions(run.metrics.training, run.metrics.environment, "pre-training"),
    )
    return fill_card(
        ModelCard,
        data,
        "model.md",
        **shared_values(run, name, revision, samples),
        prompt=string(example_prompt(samples, run.template)),
        parameters=f"{run.metrics.parameters:,}",
        units=run.units,
        lower_case=run.lower_case,
        bits_per_character=f"{run.evaluation.likelihood.bits_per_character:.3f}" if run.evaluation else "",
        vocabulary=f"{run.shape.vocab_size:,}",
        # the first position is that of [BOS]
        longest_text=f"{run.shape.n_positions - 1:,}",
        onnx=onnx,
        quantized=quantized,
        js_options=_javascript_options(revision, quantized),
        space=space or "",
        subset_models=subset_models_table(subset_models, kept.rows),
        few_texts=FEW_REVIEWS,
        facts=_facts(run, space),
        training_data=_training_data(run),
        data_rows=data_table(run.data_report) if run.data_report else "",
        distillation=distillation_text(run.metrics.distillation) if run.metrics.distillation else "",
        training=training_table(run),
        evaluation=score_table("split", {"test": run.metrics.test, "validation": run.metrics.validation}),
        refit=_refit(run),
        indexed=NGRAM_INDEX in optional_files,
        epochs=EPOCH_FILES[0] in optional_files,
        has_report=run.evaluation is not None,
        **_evaluation_sections(run),
        plots=[(escape(title), file) for title, file in run.plots],
        **_pretrain_command(run, name, revision),
    )


def _javascript_options(revision: str, quantized: bool) -> str:
    """Return the third argument of transformers.js's ``pipeline``, after a comma; empty without options."""
    options = {"revision": "" if revision == MAIN else revision, "dtype": "q8" if quantized else ""}
    given = ", ".join(f"{name}: {string(value)}" for name, value in options.items() if value)
    return f", {{ {given} }}" if given else ""


def _facts(run: RunRecord, space: str | None) -> str:
    """Return the table at the card's beginning."""
    corpus, report, test, source = run.corpus, run.data_report, run.metrics.test, source_url()
    perplexity = figure(test.perplexity, ",.2f") if test else None
    non_commercial = ": non-commercial use only" if "-nc" in corpus.license.id else ""
    rows = [
        ("model", f"GPT-2: {_architecture(run.shape, run.units)}"),
        ("tokenizer", _tokenizer(run)),
        ("size", f"{(run.folder / WEIGHTS).stat().st_size / 1e6:,.1f} MB; a CPU is enough"),
        ("language", ", ".join(corpus.languages)),
        ("training texts", f"{report.splits['train']:,}" if report else None),
        (
            "test perplexity of the tested run" if run.metrics.refit else "test perplexity",
            f"{perplexity} per word" if perplexity else None,
        ),
        ("license", f"{corpus.license.markdown}{non_commercial}"),
        ("source code", f"[{source}]({source})" if source else None),
        ("demo", f"[{space}](https://huggingface.co/spaces/{space})" if space else None),
    ]
    return table(("property", "value"), rows)


def _tokenizer(run: RunRecord) -> str | None:
    """Return what a token is; None for another package's kind of tokenizer."""
    kind = TOKENIZERS.get(run.tokenizer_kind or "")
    return kind and f"{kind}, {'in lower case' if run.lower_case else 'capitals included'}"


def _architecture(shape: ModelShape, units: str) -> str:
    inner = 4 * shape.n_embd if shape.n_inner is None else shape.n_inner
    return (
        f"{counted(shape.n_layer, 'layer')}, {counted(shape.n_head, 'head')}, width {shape.n_embd:,}, "
        f"feed-forward width {inner:,}, "
        f"context length {shape.n_positions:,}, {shape.vocab_size:,} {units} in the vocabulary"
    )


def _training_data(run: RunRecord) -> str:
    """Return where the training texts are, and their license if it is known."""
    corpus, data = run.corpus, run.config.data
    if corpus.synthetic:
        return f"The file {code(SAMPLE_PATH.name)} of wine\\_gpt, licensed under {corpus.license.markdown}."
    source = f"[{escape(corpus.name)}]({corpus.page})" if corpus.page else escape(corpus.name)
    if corpus.dataset:
        chosen = {"configuration": data.name, "revision": data.revision}
        details = "".join(f", {label} {code(value)}" for label, value in chosen.items() if value)
    else:
        file = KAGGLE_FILES[0] if data.path == "kaggle" else run.data_source.published_path
        details = "" if file == corpus.name else f", file {code(file)}"
    license = f", licensed under {corpus.license.markdown}" if corpus.creator else ""
    return f"{source}{details}{license}."


def _refit(run: RunRecord) -> str:
    """Return whose figures a refit's card has; empty for a run that held texts out."""
    refit = run.metrics.refit
    if refit is None:
        return ""
    return (
        f"**These weights were trained on all {refit.reviews:,} texts in {counted(refit.epochs, 'epoch')}, so no text "
        f"is left to score them on.** The figures are those of the run {code(refit.run)}, which was trained with the "
        "same settings on the training split alone and tested on texts that it had not seen."
    )


def _evaluation_sections(run: RunRecord) -> dict[str, str | Section]:
    """Return the sections of an evaluation, none without one."""
    report = run.evaluation
    if report is None:
        return {}
    provinces = report.conditioning.existing_provinces if report.conditioning else None
    return {
        "evaluated_split": report.split,
        "baselines": baselines_table(report),
        "copying": copying_section(report),
        "diversity": diversity_section(report),
        "conditioning": conditioning_section(run.config.data.prompt_fields, report),
        "provinces": "" if provinces is None else f"{provinces:.1%}",
        "generated_texts": f"{generated_texts(report):,}",
    }


def _pretrain_command(run: RunRecord, name: str, revision: str) -> dict[str, str]:
    """Return how to train the model again."""
    if run.metrics.refit:
        # the tested run is not published
        return {"install": "", "command": ""}
    script = pretrain_script(run, f"{download_folder(name)}/{CONFIG}")
    downloads = [download(name, revision, *run.config_files)]
    return repeat_command(run, downloads, script, run.metrics.training, run.metrics.environment)


def pretrain_script(run: RunRecord, config: str) -> str:
    """Return the script that trains a run again from its published config, with its arguments."""
    if run.metrics.distillation is None:
        return f"scripts/pretrain.py {config}"
    settings = dataclasses.asdict(run.metrics.distillation.settings)
    flags = (f"--distillation.{name} {value}" for name, value in settings.items())
    return " ".join([f"scripts/distill.py {config}", *flags])
