"""Generate greedily with base and fine-tuned models, and print the texts and both adapters' logits as JSON.

python use_published_models.py '[[BASE, ADAPTER, ADAPTER, FULL], ...]' PROMPT ...

BASE, the adapters and FULL are folders or names on the Hub; transformers and peft load them without wine_gpt.
"""

import json
import sys

from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

prompts = sys.argv[2:]


def greedy(name: str) -> list[str]:
    """Return the pipeline's text for each prompt."""
    generate = pipeline("text-generation", model=name)
    return [generate(prompt, do_sample=False)[0]["generated_text"] for prompt in prompts]


def use(base: str, first: str, second: str, full: str) -> dict[str, object]:
    """Return what a test compares."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    inputs = tokenizer(prompts[0], return_tensors="pt")
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), first, adapter_name="first")
    model.load_adapter(second, adapter_name="second")
    logits = {}
    for name in ("first", "second"):
        model.set_adapter(name)
        logits[name] = model.eval()(**inputs).logits[0, -1].tolist()
    return {
        "texts": greedy(base),
        "adapted texts": greedy(first),
        "full texts": greedy(full),
        "ids": tokenizer(prompts)["input_ids"],
        "positions": tokenizer.model_max_length,
        **logits,
    }


print(json.dumps([use(*names) for names in json.loads(sys.argv[1])]))
