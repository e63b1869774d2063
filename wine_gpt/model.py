"""Config and tokenizer to a GPT-2 that knows its special tokens and how to be sampled; and its loss over words."""

import contextlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    GenerationConfig,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    set_seed,
)
from transformers.utils import logging as transformers_logging

from wine_gpt.batching import IGNORED, Batch
from wine_gpt.config import ModelConfig, base_of
from wine_gpt.dropout import pack_dropout, seeded
from wine_gpt.errors import UserError, one_line
from wine_gpt.loss import embed, summed_cross_entropy, token_losses


def build_model(config: ModelConfig, tokenizer: PreTrainedTokenizerFast, seed: int) -> GPT2LMHeadModel:
    """Return a freshly initialised GPT-2; its weights depend on the config, the vocabulary's size and the seed."""
    special = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    set_seed(seed)
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer),
            n_positions=config.block_size,
            n_layer=config.n_layer,
            n_head=config.n_head,
            n_embd=config.n_embd,
            n_inner=config.n_inner,
            resid_pdrop=config.dropout,
            embd_pdrop=config.dropout,
            attn_pdrop=config.dropout,
            # GPT-2's own, by torch's kernel instead of eight
            activation_function="gelu_pytorch_tanh",
            **special,
        )
    )
    model.generation_config = GenerationConfig(
        **special,
        do_sample=True,
        # measured: docs/evaluation.md, "How words are drawn"
        temperature=0.9,
        top_p=1.0,
        # all words; where nothing is said, transformers takes the 50 likeliest
        top_k=0,
        # not max_new_tokens, which could pass the last position, and which pipelines of transformers 4 put at 256
        max_length=config.block_size,
        suppress_tokens=[tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.bos_token_id],
    )
    return model


class LanguageModelLoss(nn.Module):
    """A GPT-2 with its loss over real tokens only: what training and evaluation run.

    Only positions that have a label reach the head, so what little padding a batch has costs almost nothing.
    """

    def __init__(self, model: GPT2LMHeadModel) -> None:
        super().__init__()
        self.generators = pack_dropout(model)
        self.model = model

    def seed_dropout(self, seeds: Iterable[int]) -> None:
        """Fix what the next forward pass drops of each review, on a CPU: by a seed for each row of its batch."""
        self.generators[:] = seeded(seeds)

    def forward(self, input_ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the sum, in nats, of −log p(label) over all labels that are not ignored: a float32 scalar.

        Both arguments are int64 of shape (reviews, positions), as a :class:`Batch` holds them.
        """
        real = labels != IGNORED
        words, head = self.model.transformer.wte, self.model.lm_head.weight
        # where the words' embeddings are the head's weight, their gradients are one
        head_gradient: list[torch.Tensor] | None = [] if words.weight is head else None
        embeddings = words(input_ids) if head_gradient is None else embed(head, input_ids, head_gradient)
        return summed_cross_entropy(self._hidden(embeddings)[real], head, labels[real], head_gradient)

    @torch.no_grad()
    def token_losses(self, batch: Batch) -> torch.Tensor:
        """Return −log p(label), in nats, of each position: float32 of the shape of the labels, 0 where ignored."""
        real = batch.labels != IGNORED
        hidden = self._hidden(self.model.transformer.wte(batch.input_ids))[real]
        losses = torch.zeros(batch.labels.shape, device=batch.labels.device)
        losses[real] = token_losses(hidden, self.model.lm_head.weight, batch.labels[real])
        return losses

    def _hidden(self, embeddings: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.model.transformer(inputs_embeds=embeddings, use_cache=False).last_hidden_state
        return hidden


def load_model(path: str | Path) -> PreTrainedModel:
    """Load a causal language model from a folder or the Hub: safetensors only, and never code of its own.

    A folder with an adapter of PEFT gives its base with the adapter merged into it.

    Raises:
        UserError: if there is none, it is pickled, brings its own code, or its weights are damaged or not finite.
    """
    folder = Path(path)
    if (folder / "adapter_config.json").is_file():
        return _load_adapted(folder)
    if folder.is_dir():
        _refuse_unsafe(folder)
    elif str(path).startswith((".", "/", "~")) or str(path).count("/") > 1:
        raise UserError(f"model: no such folder: {path}")
    try:
        with quiet_transformers():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                path,
                use_safetensors=True,
                trust_remote_code=False,
                # what doesn't fit is reported below, by name
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        raise UserError(f"model: can't load {path}: {one_line(error)}") from error
    model: PreTrainedModel = loaded[0]
    report: dict[str, Any] = loaded[1]
    for problem in ("missing_keys", "mismatched_keys"):
        if report[problem]:
            names = ", ".join(sorted(str(key) for key in report[problem]))
            what = problem.removesuffix("_keys")
            raise UserError(f"model: the weights in {path} don't fit its config.json: {what} {names}")
    _require_finite(path, model)
    return model


def _require_finite(path: str | Path, model: PreTrainedModel) -> None:
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            raise UserError(f"model: {path}: tensor {name} holds NaN or infinity")


def _load_adapted(folder: Path) -> PreTrainedModel:
    """Load an adapter's base and merge the adapter into it."""
    base = base_of(folder)
    if base is None:
        raise UserError(f"model: {folder / 'adapter_config.json'} names no base_model_name_or_path")
    weights = folder / "adapter_model.safetensors"
    if not weights.is_file():
        raise UserError(f"model: {folder} has no {weights.name}")
    _require_sound(weights)
    try:
        from peft import PeftModel
    except ImportError:
        raise UserError(f'model: {folder} is an adapter, which needs peft: pip install "wine_gpt[adapters]"') from None
    model = load_model(base)
    try:
        adapted: PreTrainedModel = PeftModel.from_pretrained(model, str(folder)).merge_and_unload()
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise UserError(f"model: the adapter in {folder} doesn't fit its base {base}: {one_line(error)}") from error
    _require_finite(folder, adapted)
    return adapted


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers' bars, reports and warnings off the terminal."""
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        transformers_logging.enable_progress_bar()


def _refuse_unsafe(folder: Path) -> None:
    """Look at a model folder before anything of it is loaded, so that the error can name file and reason."""
    config_file = folder / "config.json"
    try:
        config = json.loads(config_file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"model: {folder} holds no model: it has no config.json") from None
    except ValueError as error:
        raise UserError(f"model: {config_file} is not JSON: {error}") from error
    if "auto_map" in config:
        raise UserError(f"model: {config_file} asks to run code of its own (auto_map); refused")
    weights = sorted(folder.glob("*.safetensors"))
    pickles = sorted([*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth"), *folder.glob("*.ckpt")])
    if not weights:
        found = (
            f"only {pickles[0].name}, a pickle, which could run code; refused" if pickles else "no model.safetensors"
        )
        raise UserError(f"model: {folder} has {found}")
    for file in weights:
        _require_sound(file)


def _require_sound(file: Path) -> None:
    """Read every tensor of a safetensors file, so that a damaged one is named."""
    name = "its header"
    try:
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - not a dict
                tensors.get_tensor(name)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise UserError(f"model: {file} is damaged at {name}: {one_line(error)}") from error
