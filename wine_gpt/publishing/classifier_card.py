"""Read a finished classifier, and fill its card."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import ModelCard, ModelCardData

from wine_gpt.base_model import base_of
from wine_gpt.config import FinetuneConfig
from wine_gpt.config_io import to_yaml
from wine_gpt.errors import UserError
from wine_gpt.files import JsonObject, path_parts, read_json, read_record
from wine_gpt.finetuning.results import BaseReference
from wine_gpt.markdown import code, escape, table
from wine_gpt.publishing.card_parts import (
    counted,
    download,
    download_folder,
    emissions,
    fill_card,
    hub_results,
    repeat_command,
    shared_metadata,
    shared_values,
    train_command,
)
from wine_gpt.publishing.corpus import OwnCorpus
from wine_gpt.publishing.model_card import pretrain_script
from wine_gpt.publishing.published_files import PUBLISHED_FINETUNE_CONFIG, TOKENIZER_FILES
from wine_gpt.publishing.run_record import (
    RunRecord,
    published_finetune_config,
    read_finetune_config,
    read_run,
    require_files,
)
from wine_gpt.run_folder import CONFIG, FINETUNE_CONFIG, METRICS, MODEL_CONFIG, WEIGHTS
from wine_gpt.tasks.classification.results import ClassifierMetrics, is_classifier
from wine_gpt.tasks.classification.table import to_markdown

CLASSIFIER_FILES = (MODEL_CONFIG, WEIGHTS)
# labels in the card's table before the rest is counted
SHOWN_LABELS = 100


@dataclass(frozen=True)
class ClassifierRecord:
    """A finished classifier: its folder, its figures and its settings."""

    folder: Path
    metrics: ClassifierMetrics
    config: FinetuneConfig

    def config_yaml(self, name: str) -> str:
        """Return the settings for the repository ``name``, without paths of this machine, as YAML."""
        output = f"runs/{name.rpartition('/')[2]}"
        return to_yaml(published_finetune_config(self.config, self.metrics.training, base_folder(name), output))

    def published_metrics(self) -> JsonObject:
        """Return the content of the metrics file, without the base's path and the settings, which the config has."""
        base = BaseReference(path_parts(self.metrics.base.path)[-1], self.metrics.base.weights_sha256)
        return dataclasses.replace(self.metrics, base=base, settings=None).to_dict()


def holds_classifier(folder: Path) -> bool:
    """Return whether a folder holds a finished classifier."""
    return (folder / METRICS).is_file() and is_classifier(read_json(folder / METRICS))


def read_classifier(folder: Path, own: OwnCorpus) -> tuple[ClassifierRecord, RunRecord]:
    """Read a classifier, and the base that it was fine-tuned from, whose data and license the card names.

    Raises:
        UserError: if a file is missing or damaged, or the base is not found.
    """
    require_files(folder, (*CLASSIFIER_FILES, *TOKENIZER_FILES, FINETUNE_CONFIG))
    metrics = read_record(folder / METRICS, ClassifierMetrics.from_dict)
    base = base_of(folder)
    if base is None:
        raise UserError(
            f"{folder}: its base {metrics.base.path} is missing or was trained again: the card needs the base's data "
            "settings, so move it back, or fine-tune again"
        )
    return ClassifierRecord(folder, metrics, read_finetune_config(folder)), read_run(base, own)


def base_folder(name: str) -> str:
    """Return the folder that the card's commands train the base in."""
    return f"runs/{name.rpartition('/')[2]}-base"


def classifier_card(run: RunRecord, classifier: ClassifierRecord, name: str, revision: str) -> ModelCard:
    """Return the card of a classifier that is published as ``name``; ``run`` is its base."""
    metrics = classifier.metrics
    label = escape(metrics.label)
    figures = (
        ("accuracy", "Accuracy", round(metrics.test.accuracy, 4)),
        ("f1", "Macro-F1", round(metrics.test.macro_f1, 4)),
    )
    data = ModelCardData(
        **{**shared_metadata(run, (), "finetuned"), "metrics": ["accuracy", "f1"]},
        library_name="transformers",
        pipeline_tag="text-classification",
        model_name=name.split("/")[1],
        eval_results=hub_results(run.corpus, run.corpus.name, "text-classification", "Text classification", figures),
        co2_eq_emissions=emissions(metrics.training, metrics.environment, "fine-tuning"),
    )
    return fill_card(
        ModelCard,
        data,
        "classifier.md",
        **shared_values(run, name, revision, ()),
        label=label,
        text_field=code(run.template.text_field),
        classes=f"{len(metrics.classes):,}",
        labels=_labels(metrics),
        evaluation=to_markdown(metrics),
        ordered=metrics.ordered,
        test_texts=f"{metrics.test.reviews:,}",
        named=f"{metrics.named_in_text:.1%}",
        left_out=_left_out(metrics),
        parameters=f"{metrics.parameters:,}",
        units=run.units,
        longest_text=f"{run.shape.n_positions - 1:,}",
        **_command(run, classifier, name, revision),
    )


def _labels(metrics: ClassifierMetrics) -> str:
    rows = [(escape(label), f"{count:,}") for label, count in [*metrics.classes.items()][:SHOWN_LABELS]]
    more = len(metrics.classes) - len(rows)
    rest = f"\n\n{more:,} more labels are in `config.json`." if more else ""
    return table(("label", "training texts"), rows) + rest


def _left_out(metrics: ClassifierMetrics) -> str:
    """Return which texts were left out; empty if none were."""
    count = counted(sum(metrics.left_out.values()), "text")
    values = f"{counted(len(metrics.left_out), 'rarer value')}, with {count} in all" if metrics.left_out else ""
    missing = f"{counted(metrics.missing, 'text')} without a value" if metrics.missing else ""
    return " and ".join(filter(None, [values, missing]))


def _command(run: RunRecord, classifier: ClassifierRecord, name: str, revision: str) -> dict[str, str]:
    """Return how to train base and classifier again."""
    folder, metrics = download_folder(name), classifier.metrics
    script = f"{pretrain_script(run, f'{folder}/{CONFIG}')} --output_dir {base_folder(name)}"
    base = train_command(run, script, run.metrics.training, run.metrics.environment)
    downloads = [download(name, revision, *run.config_files, PUBLISHED_FINETUNE_CONFIG), base]
    script = f"scripts/finetune.py {folder}/{PUBLISHED_FINETUNE_CONFIG}"
    return repeat_command(run, downloads, script, metrics.training, metrics.environment, ["evaluation"])
