"""Build a GPT-2 whose special tokens are the tokenizer's and whose sampling defaults are the config's."""

import dataclasses
from typing import Any

from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast, set_seed

from wine_gpt.config import GenerationDefaults, ModelConfig

# transformers.js on a CPU loads the quantized file by default
JAVASCRIPT_CONFIG = {"transformers.js_config": {"dtype": "fp32"}}


def build_model(
    config: ModelConfig, tokenizer: PreTrainedTokenizerFast, seed: int, generation: GenerationDefaults | None = None
) -> GPT2LMHeadModel:
    """Return a randomly initialized GPT-2.

    Args:
        config: the model's shape.
        tokenizer: determines the vocabulary size and the special tokens.
        seed: seeds torch, NumPy and Python with :func:`transformers.set_seed` before the weights are drawn.
        generation: sampling defaults; a default :class:`GenerationDefaults` if none.
    """
    special = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    set_seed(seed)
    model = GPT2LMHeadModel(gpt2_config(config, vocab_size=len(tokenizer), **special))
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
