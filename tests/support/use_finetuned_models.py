"""Load fine-tuned models without wine_gpt, switch and merge adapters, and print what a test checks as JSON.

python use_finetuned_models.py BASE LORA FULL PROMPT TEXT ...

LORA and FULL are output folders of ``scripts/finetune.py``; LORA has the subsets pinot-noir and rose.
"""

import json
import math
import sys

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, pipeline, set_seed

base, lora, full, prompt, *texts = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(lora + "/pinot-noir")
ids = tokenizer(texts[0], return_tensors="pt").input_ids


def logits(model: PreTrainedModel) -> torch.Tensor:
    """Return the logits for the first text."""
    with torch.no_grad():
        return model.eval()(ids).logits


def perplexity(model: PreTrainedModel) -> float:
    """Return the perplexity over all texts, without the start of text and the first word."""
    nats, words = 0, 0
    for text in texts:
        ids = tokenizer(text, return_tensors="pt").input_ids
        with torch.no_grad():
            scores = model.eval()(ids).logits
        nats += torch.nn.functional.cross_entropy(scores[0, 1:-1], ids[0, 2:], reduction="sum").item()
        words += ids.shape[1] - 2
    return math.exp(nats / words)


def load(name: str) -> PeftModel:
    """Return the base with an adapter."""
    return PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), f"{lora}/{name}", adapter_name=name)


alone = {name: logits(load(name)) for name in ("pinot-noir", "rose")}
both = load("pinot-noir")
both.load_adapter(lora + "/rose", adapter_name="rose")
switched = {}
for name in ("rose", "pinot-noir"):
    both.set_adapter(name)
    switched[name] = logits(both)
merged = logits(load("pinot-noir").merge_and_unload())
generated = {}
for name, path in (("lora", lora + "/pinot-noir"), ("full", full + "/pinot-noir")):
    set_seed(0)
    generated[name] = pipeline("text-generation", model=path)(prompt)[0]["generated_text"]
print(
    json.dumps(
        {
            "switched": [torch.equal(switched[name], alone[name]) for name in alone],
            "merged": (merged - alone["pinot-noir"]).abs().max().item(),
            "differ": (alone["rose"] - alone["pinot-noir"]).abs().max().item(),
            "lora": perplexity(load("pinot-noir")),
            "full": perplexity(AutoModelForCausalLM.from_pretrained(full + "/pinot-noir")),
            "written": generated,
            "wine_gpt": "wine_gpt" in sys.modules,
        }
    )
)
