"""The tables of the model cards, in Markdown; a row whose figure is missing is left out."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wine_gpt.config_io import to_flat
from wine_gpt.data.report import DataReport
from wine_gpt.evaluation.results import EvaluationReport
from wine_gpt.files import read_json
from wine_gpt.finetuning.results import Comparison
from wine_gpt.markdown import escape, table
from wine_gpt.modeling.scoring import Score
from wine_gpt.publishing.run_record import RunRecord, SubsetModel
from wine_gpt.run_folder import ADAPTER_CONFIG
from wine_gpt.training.record import Distillation, Environment, TrainingSummary

Row = tuple[str | None, ...]


@dataclass(frozen=True)
class Section:
    """A table and one sentence on what it shows; false without a table."""

    conclusion: str
    table: str

    def __bool__(self) -> bool:
        return bool(self.table)


# the world's average emissions of electricity, as in codecarbon
GRAMS_PER_KWH = 475

# the packages whose versions decide what a run computes
SHOWN_PACKAGES = ("wine_gpt", "torch", "transformers", "tokenizers", "datasets", "accelerate")
SHOWN_SETTINGS = {
    "training.batch_tokens": "tokens in a batch, padding included",
    "training.optimizer": "optimizer",
    "training.learning_rate": "peak learning rate",
    "training.weight_decay": "weight decay",
    "model.dropout": "dropout",
    "training.seed": "seed",
}
SHOWN_LORA_SETTINGS = {
    "lora.rank": "LoRA rank",
    "lora.alpha": "LoRA alpha (the update is multiplied by alpha / rank)",
    "lora.dropout": "LoRA dropout",
    "lora.targets": "adapted layers, in every block",
}
SHOWN_FINETUNE_SETTINGS = {
    "objective.header_weight": "weight of the header's words",
    "objective.text_weight": "weight of the running text's words; the base's predictions have the rest",
    "training.epochs": "epochs",
    **{key: label for key, label in SHOWN_SETTINGS.items() if key != "model.dropout"},
}


def subset_models_table(subset_models: Sequence[SubsetModel], kept_rows: Sequence[str] = ()) -> str:
    """Return the fine-tuned models with their perplexity beside the base's, and rows of an earlier card."""
    header = ("subset", "model", "test texts", "base's perplexity", "fine-tuned", "change", "change after the header")
    rows = []
    for subset_model in subset_models:
        comparison, repository = subset_model.metrics.comparison, subset_model.repository
        rows.append(
            (
                f"{escape(subset_model.metrics.field)}: {escape(subset_model.metrics.value)}",
                f"[{repository}](https://huggingface.co/{repository})",
                f"{comparison.whole.tuned.reviews:,}",
                f"{comparison.whole.base.perplexity:,.2f}",
                f"{comparison.whole.tuned.perplexity:,.2f}",
                comparison.whole.perplexity_change.as_percent(),
                change_after_header(comparison),
            )
        )
    kept_cells = ([cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in kept_rows)
    return table(header, [*rows, *(cells for cells in kept_cells if len(cells) == len(header))])


def change_after_header(comparison: Comparison) -> str:
    """Return the change of the running text's perplexity, and whether it shows a gain."""
    change = comparison.after_header.perplexity_change
    return change.as_percent() if change.high < 0 else f"{change.as_percent()}, no gain shown"


def data_table(report: DataReport) -> str:
    """Return how many records were read, dropped, kept and put into each split; zeros are left out."""
    dropped = {
        "blank": report.blank,
        **{f"without {escape(field)}": count for field, count in report.dropped.items()},
        "duplicates, removed before the split": report.duplicates,
    }
    rows = [
        ("read", report.read),
        *((label, count) for label, count in dropped.items() if count),
        ("kept", report.kept),
        *((f"{split} split", count) for split, count in report.splits.items()),
    ]
    return table(("records", "number"), [(label, f"{count:,}") for label, count in rows])


def training_table(run: RunRecord) -> str:
    """Return the settings, duration and machine of a pretraining run."""
    training, settings = run.metrics.training, to_flat(run.config)
    mixed = training.mixed_precision
    rows: list[Row] = [
        ("epochs", _epochs(training)),
        ("optimizer steps", figure(training.steps, ",")),
        ("tokens seen", figure(training.tokens, ",")),
        *((label, _setting(settings[key])) for key, label in SHOWN_SETTINGS.items()),
        ("embeddings", "learned with character n-grams" if run.config.training.character_ngrams else None),
        *_cut_rows(training),
        ("time", _duration(training.seconds)),
        ("tokens per second", figure(training.tokens_per_second, ",")),
        ("precision", "float32" if mixed == "no" else f"{mixed}, mixed with float32"),
        *_machine_rows(training, run.metrics.environment, run.metrics.peak_memory_bytes.resident),
    ]
    return table(("setting", "value"), rows)


def distillation_text(found: Distillation) -> str:
    """Return what a model was distilled from, and the losses of its members and of the ensemble."""
    settings, losses = found.settings, [member.test for member in found.members if member.test is not None]
    text = (
        f"It was distilled from {settings.members:,} models of its size, trained for {settings.member_epochs:,} "
        "epochs with other seeds: it learned their mean prediction of each word, on "
        f"{found.synthetic_reviews:,} synthetic texts that they wrote, beside the training texts."
    )
    if found.ensemble.test is None:
        return text
    return (
        f"{text} On the test split those models have {min(losses):.3f} to {max(losses):.3f} nats per word each, and "
        f"{found.ensemble.test:.3f} together, which the model approximates."
    )


def finetuning_table(subset_model: SubsetModel) -> str:
    """Return the reviews, settings, duration and machine of a fine-tuning."""
    metrics, settings = subset_model.metrics, to_flat(subset_model.config)
    shown = SHOWN_LORA_SETTINGS | SHOWN_FINETUNE_SETTINGS if subset_model.is_adapter else SHOWN_FINETUNE_SETTINGS
    # with 1 nothing is interpolated
    alpha = None if metrics.alpha == 1 else f"{metrics.alpha:g}"
    peft = read_json(subset_model.folder / ADAPTER_CONFIG).get("peft_version") if subset_model.is_adapter else None
    rows: list[Row] = [
        *((f"texts of the {split} split", f"{count:,}") for split, count in metrics.reviews.items()),
        *((label, _setting(settings[key])) for key, label in shown.items()),
        ("optimizer steps", figure(metrics.training.steps, ",")),
        *_cut_rows(metrics.training),
        ("interpolation weight alpha (WiSE-FT): 0 is the base, 1 the trained weights", alpha),
        ("time", _duration(metrics.seconds)),
        ("size", f"{metrics.size_bytes / 1e6:,.2f} MB"),
        *_machine_rows(metrics.training, metrics.environment, None),
        ("PEFT", peft),
    ]
    return table(("setting", "value"), rows)


def _cut_rows(training: TrainingSummary) -> list[Row]:
    if not training.reviews_cut:
        return []
    fraction = figure(training.words_cut, ".2%")
    return [
        ("training texts longer than the model's positions", f"{training.reviews_cut:,}"),
        ("training words not seen because they are beyond these positions", fraction),
    ]


def _machine_rows(training: TrainingSummary, environment: Environment, memory: int | None) -> list[Row]:
    packages = environment.packages
    versions = [f"{name} {packages[name]}" for name in SHOWN_PACKAGES if name in packages]
    return [
        ("energy", _energy(training.energy_kwh)),
        ("device", environment.device),
        ("threads", f"{environment.threads:,}"),
        ("processes", f"{training.processes:,}"),
        ("peak memory", f"{memory / 1e9:.2f} GB" if memory else None),
        ("versions", ", ".join([f"Python {environment.python}", *versions])),
    ]


def _energy(kwh: float | None) -> str | None:
    """Return the energy that codecarbon estimated, and the emissions of making it."""
    if not kwh:
        return None
    return f"{kwh:.2g} kWh, estimated by codecarbon; {grams_of_co2(kwh):.2g} g of CO2 at {GRAMS_PER_KWH} g per kWh"


def grams_of_co2(kwh: float) -> float:
    """Return the emissions at the world's average, because the training's place is not known."""
    return kwh * GRAMS_PER_KWH


def score_table(label: str, scores: Mapping[str, Score | None]) -> str:
    """Return losses and perplexities; ``label`` is the heading of the scores' names."""
    unit = next((score.unit for score in scores.values() if score is not None), "words")
    header = (label, "nats per word", "perplexity", f"unknown {unit}", "words", "texts")
    rows = [
        (
            name,
            figure(score.nats_per_word, ".3f"),
            figure(score.perplexity, ",.2f"),
            figure(score.unknown_rate, ".1%"),
            f"{score.words:,}",
            f"{score.reviews:,}",
        )
        for name, score in scores.items()
        if score is not None
    ]
    return table(header, rows)


def baselines_table(evaluation: EvaluationReport) -> str:
    """Return the losses of models that only count, beside the model's; empty in earlier evaluations."""
    if not evaluation.baselines:
        return ""
    losses = {**evaluation.baselines, "this model": evaluation.likelihood.nats_per_word}
    rows = [(name, f"{loss:.3f}", f"{math.exp(loss):,.1f}") for name, loss in losses.items()]
    return table(("predicted by", "nats per word", "perplexity"), rows)


def copying_section(evaluation: EvaluationReport) -> Section:
    """Return the spans in common with training texts, by kind of text."""
    labels = {
        "generated": "generated",
        "continued": "continuations of the first halves of training texts",
        "real": "held-out texts",
    }
    rows = []
    for kind, label in labels.items():
        if result := evaluation.copying.get(kind):
            fractions = (f"{fraction:.1%}" for fraction in (result.share_10, result.share_15, result.share_20))
            rows.append((label, f"{result.texts:,}", figure(result.mean_longest, ".1f"), *fractions))
    header = (
        "texts",
        "number",
        "mean words of the longest span",
        "texts with a span of 10 words or more",
        "of 15 or more",
        "of 20 or more",
    )
    generated, real = (evaluation.copying.get(kind) for kind in ("generated", "real"))
    comparison = compare_spans(generated.mean_longest, real.mean_longest) if generated and real else ""
    conclusion = f"{comparison}." if comparison else ""
    return Section(conclusion, table(header, rows))


def compare_spans(generated: float, held_out: float) -> str:
    """Return what the mean lengths, in words, of spans in common with training texts say of copying; empty for NaN."""
    if not math.isfinite(generated - held_out):
        return ""
    if abs(generated - held_out) < 1:
        comparison = "about as long as"
    else:
        comparison = "longer than" if generated > held_out else "shorter than"
    return (
        f"The spans that generated texts have in common with training texts are {comparison} those of held-out texts"
    )


def diversity_section(evaluation: EvaluationReport) -> Section:
    """Return distinct n-grams and lengths, by kind of text."""
    rows = []
    for kind, label in {"generated": "generated", "real": "held-out texts"}.items():
        if result := evaluation.diversity.get(kind):
            distinct = (f"{rate:.3f}" for rate in (result.distinct_1, result.distinct_2, result.distinct_3))
            rows.append((label, *distinct, f"{result.mean_length:.1f}"))
    header = ("texts", "distinct words", "distinct pairs", "distinct triples", "words per text")
    generated, real = (evaluation.diversity.get(kind) for kind in ("generated", "real"))
    conclusion = ""
    if generated and real:
        more = "more" if generated.distinct_3 < real.distinct_3 else "no more"
        conclusion = f"Generated texts repeat triples of words {more} often than held-out texts do."
    return Section(conclusion, table(header, rows))


def conditioning_section(prompt_fields: Sequence[str], evaluation: EvaluationReport) -> Section:
    """Return how often a classifier recognizes each prompt field, by kind of text; no table without a field."""
    rates = evaluation.conditioning.rates if evaluation.conditioning else {}
    generated = rates.get("generated", {})
    fields = [field for field in prompt_fields if math.isfinite(generated.get(field, math.nan))]
    labels = {"generated": "generated", "real": "held-out texts", "commonest": "always guessing the commonest value"}
    rows = [
        (label, *(figure(rates.get(kind, {}).get(field), ".1%") for field in fields)) for kind, label in labels.items()
    ]
    followed = [field for field in fields if _is_followed(rates, field, generated_texts(evaluation))]
    others = [field for field in fields if field not in followed]
    subject = "They" if followed else "Generated texts"
    sentences = [
        f"Generated texts reflect the {_listed(followed)} in their header." if followed else "",
        f"{subject} do not measurably reflect the {_listed(others)}{'' if followed else ' in their header'}."
        if others
        else "",
    ]
    conclusion = " ".join(filter(None, sentences))
    return Section(conclusion, table(("texts", *map(escape, fields)), rows) if fields else "")


def generated_texts(evaluation: EvaluationReport) -> int:
    """Return how many texts were generated, which may be fewer than the configured number."""
    return evaluation.copying["generated"].texts if "generated" in evaluation.copying else evaluation.samples.texts


def _is_followed(rates: Mapping[str, Mapping[str, float]], field: str, texts: int) -> bool:
    """Return whether the rate's 95% interval, of the normal approximation, lies above that of the commonest value."""
    rate = rates["generated"][field]
    return texts > 0 and rate - 1.96 * math.sqrt(rate * (1 - rate) / texts) > rates.get("commonest", {}).get(
        field, 0.0
    )


def _listed(names: Sequence[str]) -> str:
    *first, last = map(escape, names)
    return f"{', '.join(first)} and {last}" if first else last


def _epochs(training: TrainingSummary) -> str | None:
    if not training.epochs or training.best_epoch is None:
        return None
    return f"{len(training.epochs)}; the weights are those of epoch {training.best_epoch}, by validation loss"


def figure(value: float | None, form: str) -> str | None:
    """Format a figure; None if it is missing or not finite."""
    return None if value is None or not math.isfinite(value) else format(value, form)


def _setting(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
