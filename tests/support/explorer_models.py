"""Small GPT-2s of every kind that the explorer runs, with what transformers computes on the CPU in float32."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.activations import ACT2FN

from wine_gpt.run_folder import WEIGHTS

PROMPTS = 50
NEW_TOKENS = 8
# below this gap of the two largest logits greedy texts may differ, because float32 sums depend on their order
LEAST_GAP = 2e-3
TINY = {"vocab_size": 101, "n_positions": 40, "n_embd": 30, "n_layer": 2, "n_head": 3}


@dataclass(frozen=True)
class Case:
    """A model to build.

    Attributes:
        config: fields of GPT2Config.
        dtype: of the weights in the file.
        shards: whether the weights are in several files.
        renamed: other names of fields in config.json.
        tied_later: whether config.json says that two heads which differ are tied; transformers does not tie them.
        unneeded: whether the file has the mask buffers of old GPT-2s, too.
        deep: whether the reference has every inner value and greedy texts.
    """

    config: dict[str, Any]
    dtype: torch.dtype = torch.float32
    shards: bool = False
    renamed: dict[str, str] = field(default_factory=dict)
    tied_later: bool = False
    unneeded: bool = False
    deep: bool = True


# the shapes of configs/, with fewer words where the vocabulary is no matter
SHAPES = {
    "sample": {"vocab_size": 1842, "n_positions": 128, "n_embd": 128, "n_layer": 2, "n_head": 4, "n_inner": 512},
    "class": {"vocab_size": 2000, "n_positions": 80, "n_embd": 256, "n_layer": 1, "n_head": 2, "n_inner": 256},
    "base": {"vocab_size": 10002, "n_positions": 192, "n_embd": 256, "n_layer": 3, "n_head": 4, "n_inner": 512},
}
TANH = {"activation_function": "gelu_pytorch_tanh"}
CASES = {
    **{name: Case({**shape, **TANH}) for name, shape in SHAPES.items()},
    "tiny": Case(TINY),
    "untied": Case({**TINY, "tie_word_embeddings": False}),
    "quick_gelu": Case({**TINY, "activation_function": "quick_gelu", "layer_norm_epsilon": 1e-3, "n_inner": 37}),
    "inverse_layer": Case(
        {**TINY, "scale_attn_by_inverse_layer_idx": True, "reorder_and_upcast_attn": True, "n_layer": 3}
    ),
    "unscaled": Case({**TINY, "scale_attn_weights": False, "activation_function": "relu"}),
    "bfloat16": Case(TINY, dtype=torch.bfloat16),
    "float16": Case(TINY, dtype=torch.float16),
    "shards": Case({**TINY, "tie_word_embeddings": False, "n_head": 1}, shards=True),
    "tied_later": Case({**TINY, "tie_word_embeddings": False}, tied_later=True),
    "buffers": Case(TINY, unneeded=True),
    "other_names": Case(TINY, renamed={"n_embd": "hidden_size", "n_head": "num_attention_heads"}),
    **{
        f"activation_{name}": Case({**TINY, "activation_function": name}, deep=False)
        for name in sorted(ACT2FN)
        # those have weights of their own
        if name not in ("prelu", "xielu")
    },
}


def build(case: Case, folder: Path, seed: int = 1) -> GPT2LMHeadModel:
    """Save a model with weights large enough that greedy texts vary; return it in float32, as it is in the file."""
    torch.manual_seed(seed)
    special = {"bos_token_id": None, "eos_token_id": case.config["vocab_size"] - 1}
    config = GPT2Config(**{**case.config, **special}, initializer_range=0.2, attn_implementation="eager")
    model = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter += 0.1 * torch.randn_like(parameter)
            elif name.endswith(("wte.weight", "lm_head.weight")):
                # so that logits have a spread of a few nats
                parameter *= (30 / parameter.shape[1]) ** 0.5
    size = {"max_shard_size": "70KB"} if case.shards else {}
    model.to(case.dtype).save_pretrained(folder, **size)
    if case.unneeded:
        mask = {f"h.{layer}.attn.bias": torch.ones(1, 1, 640, 640) for layer in range(config.n_layer)}
        tensors = {name.removeprefix("transformer."): value for name, value in load_file(folder / WEIGHTS).items()}
        save_file({**tensors, **mask}, folder / WEIGHTS, metadata={"format": "pt"})
    fields = json.loads((folder / "config.json").read_text())
    if case.tied_later:
        fields["tie_word_embeddings"] = True
    (folder / "config.json").write_text(json.dumps({case.renamed.get(name, name): fields[name] for name in fields}))
    return GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def write_case(case: Case, folder: Path) -> None:
    """Save a model in a folder, with ``reference.json``."""
    model = build(case, folder)
    generator = torch.Generator().manual_seed(2)
    vocabulary = model.config.vocab_size - 1
    text = torch.randint(vocabulary, (1, 11), generator=generator)
    reference = inner_values(model, text) if case.deep else {"logits": flat(model(text).logits)}
    reference["ids"] = text[0].tolist()
    if case.deep:
        reference["texts"] = greedy_texts(model, vocabulary, generator)
    (folder / "reference.json").write_text(json.dumps(reference))


@torch.no_grad()
def inner_values(model: GPT2LMHeadModel, text: torch.Tensor) -> dict[str, Any]:
    """Return logits, attention, residuals, Q, K, V, the lens of the first block, and the logits without one head."""
    blocks, width = model.transformer.h, model.config.n_embd
    residuals: list[torch.Tensor] = []
    qkv: list[torch.Tensor] = []
    # hidden_states has the last residual after the final norm, so collect what enters each norm
    hooks = [
        module.register_forward_pre_hook(lambda _, inputs: residuals.append(inputs[0]))
        for module in (*(block.ln_1 for block in blocks), model.transformer.ln_f)
    ]
    hooks += [block.attn.c_attn.register_forward_hook(lambda _, __, output: qkv.append(output)) for block in blocks]
    output = model(text, output_attentions=True)
    for hook in hooks:
        hook.remove()
    heads = [torch.stack(layer[0].split(width, dim=-1)).unflatten(-1, (model.config.n_head, -1)) for layer in qkv]
    lens = model.lm_head(model.transformer.ln_f(residuals[1]))
    return {
        "logits": flat(output.logits),
        "attentions": flat(torch.cat(output.attentions)),
        "hidden": flat(torch.cat(residuals)),
        # (layer, part, row, head, value) to (part, layer, head, row, value)
        **dict(zip(("queries", "keys", "values"), map(flat, torch.stack(heads).permute(1, 0, 3, 2, 4)), strict=True)),
        "lens": flat(lens),
        "without_head": flat(_without_head(model, text, layer=0, head=model.config.n_head - 1)),
    }


def _without_head(model: GPT2LMHeadModel, text: torch.Tensor, layer: int, head: int) -> torch.Tensor:
    size = model.config.n_embd // model.config.n_head
    rows = model.transformer.h[layer].attn.c_proj.weight[head * size : (head + 1) * size]
    kept = rows.clone()
    rows.zero_()
    logits: torch.Tensor = model(text).logits
    rows.copy_(kept)
    return logits


@torch.no_grad()
def greedy_texts(model: GPT2LMHeadModel, vocabulary: int, generator: torch.Generator) -> list[dict[str, list[int]]]:
    """Return prompts without near ties and what ``generate`` appends to them."""
    found = []
    while len(found) < PROMPTS:
        for length in (1, 4, 9):
            prompts = torch.randint(vocabulary, (20, length), generator=generator)
            output = model.generate(
                prompts, attention_mask=torch.ones_like(prompts), do_sample=False, max_new_tokens=NEW_TOKENS,
                pad_token_id=0, output_logits=True, return_dict_in_generate=True,
            )  # fmt: skip
            largest = torch.stack(output.logits).topk(2).values
            gaps = (largest[..., 0] - largest[..., 1]).amin(0)
            for ids, gap in zip(output.sequences.tolist(), gaps.tolist(), strict=True):
                added = ids[length:]
                if model.config.eos_token_id in added:
                    added = added[: added.index(model.config.eos_token_id) + 1]
                if gap > LEAST_GAP:
                    found.append({"prompt": ids[:length], "added": added})
    return found[:PROMPTS]


def flat(values: torch.Tensor) -> list[float]:
    return values.detach().flatten().tolist()
