"""Build a GPT-2 whose special tokens are the tokenizer's and whose sampling defaults are the config's."""

import dataclasses
from typing import Any

import psutil
import torch
from accelerate.utils import set_seed
from transformers import (
    AutoModelForCausalLM,
    GenerationConfig,
    GPT2Config,
    GPT2LMHeadModel,
    PretrainedConfig,
    PreTrainedTokenizerFast,
)

from wine_gpt.config import GenerationDefaults, ModelConfig
from wine_gpt.errors import UserError

# Make transformers.js load the float32 file, because on a CPU it looks for a quantized one by default.
JAVASCRIPT_CONFIG = {"transformers.js_config": {"dtype": "fp32"}}


def build_model(
    config: ModelConfig, tokenizer: PreTrainedTokenizerFast, seed: int, generation: GenerationDefaults | None = None
) -> GPT2LMHeadModel:
    """Return a randomly initialized GPT-2.

    Args:
        config: the model's shape.
        tokenizer: determines the vocabulary size and the special tokens.
        seed: seeds torch, NumPy and Python with :func:`accelerate.utils.set_seed` before the weights are drawn.
        generation: sampling defaults; a default :class:`GenerationDefaults` if none.

    Raises:
        UserError: if the weights alone take more than this machine's memory.
    """
    special = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    shape = gpt2_config(config, vocab_size=len(tokenizer), **special)
    _require_memory(shape)
    set_seed(seed)
    model = GPT2LMHeadModel(shape)
    model.generation_config = GenerationConfig(
        **special,
        do_sample=True,
        # top_k is written even if it is 0, because transformers reads a missing top_k as 50
        **dataclasses.asdict(generation or GenerationDefaults()),
        # not max_new_tokens, because a prompt and max_new_tokens words could exceed n_positions,
        # and pipelines of transformers 4 set max_new_tokens to 256 themselves
        max_length=config.block_size,
        suppress_tokens=[tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.bos_token_id],
    )
    return model


def gpt2_config(config: ModelConfig, **others: Any) -> GPT2Config:  # noqa: ANN401 - fields of GPT2Config
    """Return the shape in transformers' terms.

    Args:
        config: the model's shape.
        others: further fields, such as the vocabulary size.
    """
    return GPT2Config(
        n_positions=config.block_size,
        n_layer=config.n_layer,
        n_head=config.n_head,
        n_embd=config.n_embd,
        n_inner=config.n_inner,
        resid_pdrop=config.dropout,
        embd_pdrop=config.dropout,
        attn_pdrop=config.dropout,
        # equals GPT-2's gelu_new, in one kernel instead of eight: benchmarks/RESULTS.md, "Training speed"
        activation_function="gelu_pytorch_tanh",
        **{**JAVASCRIPT_CONFIG, **others},
    )


def count_parameters(config: PretrainedConfig) -> int:
    """Return the number of parameters of a causal language model without allocating them."""
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    return int(model.num_parameters())


def _require_memory(config: GPT2Config) -> None:
    """Check that the weights fit into memory in float32, because Linux ends a process that uses too much."""
    parameters, memory = count_parameters(config), psutil.virtual_memory().total
    if 4 * parameters > memory:
        raise UserError(
            f"model: {parameters:,} parameters take {4 * parameters / 1e9:,.0f} GB, but the machine has "
            f"{memory / 1e9:,.0f} GB: lower model.n_embd, model.n_layer, model.n_inner or model.block_size"
        )
