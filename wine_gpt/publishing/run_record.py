"""What is known of a finished run and of the models fine-tuned from it, read from the files that they left."""

import dataclasses
import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wine_gpt.config import DataConfig, PretrainConfig
from wine_gpt.config_io import parse_config, to_yaml
from wine_gpt.data.sources import KAGGLE_PAGE, SUFFIXES
from wine_gpt.data.template import ReviewTemplate
from wine_gpt.errors import UserError, one_line
from wine_gpt.files import read_json, sha256
from wine_gpt.publishing.hub import MAIN
from wine_gpt.run_folder import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    CONFIG,
    DATA_REPORT,
    EVALUATION,
    GENERATION_CONFIG,
    LOSS_PLOT,
    METRICS,
    MODEL_CONFIG,
    SAMPLES,
    TOKENIZER,
    TOKENIZER_CONFIG,
    WEIGHTS,
)

# what a model can't be loaded without
MODEL_FILES = (MODEL_CONFIG, GENERATION_CONFIG, WEIGHTS)
TOKENIZER_FILES = (TOKENIZER, TOKENIZER_CONFIG)
ADAPTER_FILES = (ADAPTER_CONFIG, ADAPTER_WEIGHTS)

Figures = dict[str, Any]


@dataclass(frozen=True)
class Corpus:
    """The texts that a model was trained on, as its card speaks of them."""

    name: str
    # the Hub's identifier
    license: str
    page: str | None = None
    # an id as the Hub's metadata has it
    dataset: str | None = None
    wine: bool = False
    synthetic: bool = False


KAGGLE = Corpus("Wine Reviews", "cc-by-nc-sa-4.0", KAGGLE_PAGE, "zynicide/wine-reviews", wine=True)
SAMPLE = Corpus("the sample that wine_gpt bundles", "apache-2.0", wine=True, synthetic=True)


@dataclass(frozen=True)
class Run:
    """A finished run: its config and figures, and the evaluation's where there is one."""

    folder: Path
    config: PretrainConfig
    corpus: Corpus
    metrics: Figures
    # the model's config.json
    shape: Figures
    generation: Figures
    report: Figures
    samples: list[Figures]
    evaluation: Figures

    @property
    def template(self) -> ReviewTemplate:
        """The form of the texts that the model learned."""
        return ReviewTemplate.from_config(self.config.data)

    @property
    def weights_sha256(self) -> str:
        """The checksum that fine-tuned models name their base by."""
        return sha256(self.folder / WEIGHTS)

    @property
    def possible_plots(self) -> list[tuple[str, str]]:
        """Title and file of each picture that a run and its evaluation can have."""
        labels = [
            (f"Loss by {field}", f"{EVALUATION}/loss_by_{field}.png") for field in self.config.data.prompt_fields[-1:]
        ]
        return [
            ("Training and validation loss over the optimizer steps", LOSS_PLOT),
            ("How often a word of a given probability comes true", f"{EVALUATION}/reliability.png"),
            ("Loss by the position in the text", f"{EVALUATION}/loss_by_position.png"),
            *labels,
        ]

    @property
    def plots(self) -> list[tuple[str, str]]:
        """Those that it has."""
        return [(title, file) for title, file in self.possible_plots if (self.folder / file).is_file()]

    def published_config(self, name: str) -> PretrainConfig:
        """Return the config without the paths of the machine that it ran on, for a repository of that name."""
        config = self.config
        data = dataclasses.replace(config.data, path=published_path(config.data.path))
        tokenizer = dataclasses.replace(config.tokenizer, path=config.tokenizer.path and name)
        output = f"runs/{name.rpartition('/')[2]}"
        return dataclasses.replace(
            config, data=data, tokenizer=tokenizer, output_dir=output, resume=None, overwrite=False
        )

    def config_yaml(self, name: str) -> str:
        """Return that config as YAML."""
        return to_yaml(self.published_config(name))


@dataclass(frozen=True)
class SubsetModel:
    """A model fine-tuned on the texts that have one value in one field."""

    folder: Path
    repository: str
    metrics: Figures

    @property
    def value(self) -> str:
        """The value, such as Pinot Noir."""
        return str(self.metrics["value"])

    @property
    def is_adapter(self) -> bool:
        """Whether it is LoRA's few weights or a model of its own."""
        return bool(self.metrics["method"] == "lora")


def read_run(folder: Path, license: str | None) -> Run:
    """Read a run's folder and check that all is there that a published model needs.

    Args:
        folder: what ``scripts/pretrain.py`` wrote.
        license: of a model trained on an own corpus, as the Hub names it.

    Raises:
        UserError: if it holds no finished run, or a file is missing or damaged.
    """
    if not folder.is_dir():
        raise UserError(f"no such folder: {folder}")
    if not (folder / METRICS).exists():
        raise UserError(f"{folder} holds no finished run: it has no {METRICS}; scripts/pretrain.py writes it last")
    require_files(folder, (*MODEL_FILES, *TOKENIZER_FILES, CONFIG))
    config = parse_config(PretrainConfig, [str(folder / CONFIG)])
    metrics = read_json(folder / METRICS)
    if "test" not in metrics and "validation" not in metrics:
        raise UserError(f"{folder / METRICS} has no figures of a held-out split")
    return Run(
        folder,
        config,
        corpus_of(config.data, license),
        metrics,
        shape=read_json(folder / MODEL_CONFIG),
        generation=read_json(folder / GENERATION_CONFIG),
        report=_read_optional(folder / DATA_REPORT),
        samples=_read_lines(folder / SAMPLES),
        evaluation=_read_optional(folder / EVALUATION / METRICS),
    )


def read_subset_models(folder: Path, run: Run, base: str) -> tuple[list[SubsetModel], list[str]]:
    """Read the models that ``scripts/finetune.py`` wrote, each in a folder of its own.

    Returns:
        Those that are better than their base, the largest gain first; and for each other one line that says why not.

    Raises:
        UserError: if there is none, or one is damaged or was trained from other weights than the run's.
    """
    found = sorted(path.parent for path in folder.glob(f"*/{METRICS}"))
    if not found:
        raise UserError(f"--adapters: {folder} holds no model of scripts/finetune.py")
    weights_sha256 = run.weights_sha256
    subset_models, left_out = [], []
    for part in found:
        metrics = read_json(part / METRICS)
        _require_finetuned(part, metrics, weights_sha256)
        if metrics["better"] is True:
            subset_models.append(SubsetModel(part, f"{base}-{part.name}", metrics))
        else:
            left_out.append(f"{metrics['value']}: no better than its base, left out")
    return sorted(subset_models, key=lambda subset_model: subset_model.metrics["perplexity_change"]["value"]), left_out


def require_files(folder: Path, names: tuple[str, ...]) -> None:
    """Check that a folder has the files.

    Raises:
        UserError: that names the first one missing.
    """
    for name in names:
        if not (folder / name).is_file():
            raise UserError(f"{folder} has no {name}: it can't be loaded without")


def _read_optional(path: Path) -> Figures:
    return read_json(path) if path.exists() else {}


def corpus_of(data: DataConfig, license: str | None) -> Corpus:
    """Return the corpus that a run's config names.

    Raises:
        UserError: if its licence is not known, or not the one given.
    """
    if data.path == "sample":
        known = SAMPLE
    elif data.path == "kaggle" or _is_kaggle(Path(data.path).expanduser()):
        known = KAGGLE
    elif license:
        name = published_path(data.path)
        return Corpus(name, license, dataset=name if is_hub_dataset(data.path) else None)
    else:
        raise UserError(
            f"data.path {data.path}: under which licence may a model trained on it be published? "
            "--license mit, cc-by-4.0 …"
        )
    if license not in (None, known.license):
        raise UserError(f"--license {license}: {known.name} and a model trained on it are under {known.license}")
    return known


def published_path(path: str) -> str:
    """Return a data source without the folders of the machine that it lies on."""
    return path if path in ("sample", "kaggle") or is_hub_dataset(path) else Path(path).name


def is_hub_dataset(path: str) -> bool:
    """Tell whether ``data.path`` names a data set of the Hub, as the data room reads it."""
    is_file = path.startswith((".", "/", "~")) or Path(path).suffix.lower() in SUFFIXES or Path(path).exists()
    return not is_file and path not in ("sample", "kaggle")


def revision_note(revision: str) -> str:
    """Return the argument of ``from_pretrained`` and ``pipeline`` that names a branch; nothing for the main one."""
    return "" if revision == MAIN else f', revision="{revision}"'


def _is_kaggle(path: Path) -> bool:
    """Tell Kaggle's wine reviews by the names that the files, or those in the zip, have there."""
    names = [path.name]
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names += [Path(name).name for name in archive.namelist()]
    return any(re.match(r"winemag-data", name) for name in names)


def _read_lines(path: Path) -> list[Figures]:
    if not path.exists():
        return []
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    except (OSError, ValueError) as error:
        raise UserError(f"can't read {path}: {one_line(error)}") from error


def _require_finetuned(folder: Path, metrics: Figures, weights_sha256: str) -> None:
    for key in ("field", "value", "method", "base", "better", "perplexity_change"):
        if key not in metrics:
            raise UserError(f"{folder / METRICS} has no {key}: was it written by scripts/finetune.py?")
    if metrics["base"].get("weights_sha256") != weights_sha256:
        raise UserError(
            f"--adapters: {folder} was fine-tuned from other weights than RUN's "
            f"({str(metrics['base'].get('weights_sha256'))[:12]}…, not {weights_sha256[:12]}…)"
        )
    require_files(folder, (*(ADAPTER_FILES if metrics["method"] == "lora" else MODEL_FILES), *TOKENIZER_FILES))
