"""The base model of a fine-tuning and the reviews that it was trained on."""

import os
import typing
from dataclasses import dataclass
from pathlib import Path

from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

from wine_gpt import run_folder
from wine_gpt.base_model import base_of, data_settings, refit_of
from wine_gpt.config import DataConfig, FinetuneConfig, PretrainConfig
from wine_gpt.config_io import build_config
from wine_gpt.data.reviews import Reviews, load_recorded_reviews
from wine_gpt.data.template import ReviewTemplate, require_template
from wine_gpt.errors import UserError
from wine_gpt.files import read_json, sha256
from wine_gpt.finetuning.results import BaseReference
from wine_gpt.model_path import describe_missing
from wine_gpt.modeling.pretrained import load_model
from wine_gpt.processes import main_process_first, require_equal
from wine_gpt.tokenizer import load_tokenizer
from wine_gpt.tokenizer.files import describe_other_words


@dataclass(frozen=True)
class Base:
    """A pretrained run.

    Attributes:
        path: its folder, absolute, because adapters name it and are used from other folders.
        data: its data settings.
        fingerprint: of its reviews and their splits.
        sha256: of its weights file.
        tokenizer: the model's.
    """

    path: str
    data: DataConfig
    fingerprint: str
    sha256: str
    tokenizer: PreTrainedTokenizerFast

    @property
    def reference(self) -> BaseReference:
        """What the metrics of a fine-tuned model say of its base."""
        return BaseReference(self.path, self.sha256)

    @property
    def template(self) -> ReviewTemplate:
        """The template that the base's texts were rendered with."""
        return ReviewTemplate.from_config(self.data)

    def load_model(self) -> GPT2LMHeadModel:
        """Load the weights."""
        return typing.cast(GPT2LMHeadModel, load_model(self.path))


def load_base(path: str) -> Base:
    """Read a finished pretraining run without its weights.

    Raises:
        UserError: if the folder holds no finished run of ``scripts/pretrain.py``.
    """
    # Path.is_dir raises for a name that is too long
    if not os.path.isdir(path):
        is_id = run_folder.is_hub_id(path)
        advice = f"; download it first: hf download {path} --local-dir FOLDER" if is_id else ""
        raise UserError(f"base: {describe_missing(path)}{advice}")
    folder = Path(path).resolve()
    if (folder / run_folder.ADAPTER_CONFIG).is_file() or (folder / run_folder.FINETUNE_CONFIG).is_file():
        base = base_of(folder)
        raise UserError(
            f"base: {path} is a fine-tuned model: name a pretrained run{f', such as {base}' if base else ''}"
        )
    run_folder.require_pretrained(path, "base")
    if (tested := refit_of(folder)) is not None:
        raise UserError(f"base: {path} is a refit, which has seen all reviews: name the tested run, {tested}")
    fingerprint = read_json(folder / run_folder.METRICS).get("data_fingerprint")
    if fingerprint is None:
        raise UserError(f"base: {folder / run_folder.METRICS} has no data_fingerprint: pretrain the base again")
    data = build_config(PretrainConfig, data_settings(folder)).data
    require_template(folder, data)
    tokenizer = load_tokenizer(folder)
    if other_words := describe_other_words(folder, tokenizer):
        raise UserError(f"base: {other_words}")
    return Base(str(folder), data, fingerprint, sha256(folder / run_folder.WEIGHTS), tokenizer)


def load_base_reviews(base: Base, config: FinetuneConfig) -> Reviews:
    """Load the reviews that the base was trained on, in its splits, and check that all processes have the same base.

    Raises:
        UserError: if they can't be read, differ from the base's, or a process has another base.
    """
    data = config.data.apply_to(base.data)
    reviews = main_process_first(lambda: load_recorded_reviews(data, base.fingerprint, base.path))
    require_equal({"base": base.sha256, "data": base.fingerprint}, "every machine needs the same base")
    return reviews
