"""Load a published model with another tool and print what it gives as JSON; without wine_gpt.

python use_with_other_tool.py TOOL FOLDER WORK

TOOL is a function below, FOLDER the model's, WORK an empty folder. Each function imports its packages itself, because
each tool has its own environment.
"""

import json
import sys
from pathlib import Path
from typing import Any

PROMPTS = ["wine review : italy", "wine review : germany : mosel : riesling", "wine"]
TEXTS = ["wine review : italy : tuscany", "wine review : spain", "a crisp wine with plum and oak"]


def transformers(folder: str, work: str) -> dict[str, Any]:
    """Greedy texts alone and in a batch, and losses alone and in a padded batch."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, __version__, pipeline

    write = pipeline("text-generation", model=folder)
    alone = [write(prompt, do_sample=False)[0]["generated_text"] for prompt in PROMPTS]
    if __version__.startswith("4"):
        write.tokenizer.padding_side = "left"
    batched = [found[0]["generated_text"] for found in write(PROMPTS, do_sample=False, batch_size=len(PROMPTS))]
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)

    def nats(texts: list[str]) -> float:
        encoded = tokenizer(texts, return_tensors="pt", padding=True)
        ids, mask = encoded["input_ids"][:, 1:], encoded["attention_mask"][:, 1:].bool()
        with torch.no_grad():
            logs = model(**encoded).logits[:, :-1].log_softmax(-1)
        return -float(logs.gather(2, ids[..., None])[..., 0][mask].sum())

    return {
        "version": __version__,
        "alone": alone,
        "batched": batched,
        "nats": [sum(nats([text]) for text in TEXTS), nats(TEXTS)],
        "ids": tokenizer(TEXTS)["input_ids"],
    }


def peft(folder: str, work: str) -> dict[str, Any]:
    """Train an adapter for a step, save it, and load it on the model."""
    import torch
    from peft import LoraConfig, PeftModel, __version__, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoded = tokenizer(TEXTS, return_tensors="pt", padding=True)
    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(folder), LoraConfig(task_type="CAUSAL_LM"))
    optimizer = torch.optim.AdamW(adapted.parameters(), lr=0.01)
    adapted(**encoded, labels=encoded["input_ids"]).loss.backward()
    optimizer.step()
    adapted.save_pretrained(work)
    again = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder), work).eval()
    with torch.no_grad():
        difference = (again(**encoded).logits - adapted.eval()(**encoded).logits).abs().max()
    return {"version": __version__, "difference": float(difference)}


def trl(folder: str, work: str) -> dict[str, Any]:
    """Fine-tune for 5 steps; return the last token of the first example and the loss."""
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer, __version__

    settings = SFTConfig(work, max_steps=5, report_to="none", use_cpu=True, logging_steps=1, bf16=False)
    trainer = SFTTrainer(folder, args=settings, train_dataset=Dataset.from_dict({"text": TEXTS * 4}))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    first = list(trainer.train_dataset[0]["input_ids"])
    loss = trainer.train().training_loss
    return {
        "version": __version__,
        "loss": loss,
        "steps": trainer.state.global_step,
        "first": first,
        "expected": [*tokenizer(TEXTS[0])["input_ids"], tokenizer.eos_token_id],
    }


def lm_eval(folder: str, work: str) -> dict[str, Any]:
    """Log likelihoods, with which lm-eval scores tasks of several answers and running texts."""
    from importlib.metadata import version

    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    def request(kind: str, *arguments: str) -> Instance:
        return Instance(kind, {}, arguments, 0)

    found: dict[str, Any] = {"version": version("lm_eval")}
    for bos in (True, False):
        model = HFLM(folder, add_bos_token=bos, device="cpu", dtype="float32", batch_size=1)
        answers = [request("loglikelihood", "wine review : italy", f" : {text}") for text in ("tuscany", "mosel")]
        found[f"answers, add_bos_token={bos}"] = [log for log, _ in model.loglikelihood(answers, disable_tqdm=True)]
        texts = [request("loglikelihood_rolling", text) for text in TEXTS]
        found[f"rolling, add_bos_token={bos}"] = model.loglikelihood_rolling(texts, disable_tqdm=True)
    return found


def sentence_transformers(folder: str, work: str) -> dict[str, Any]:
    """Compare embeddings of a batch with those of single texts by their cosine."""
    from sentence_transformers import SentenceTransformer, __version__
    from sentence_transformers.util import cos_sim

    model = SentenceTransformer(folder, device="cpu")
    batch = model.encode(TEXTS, batch_size=len(TEXTS))
    single = [model.encode(text) for text in TEXTS]
    return {"version": __version__, "cosines": [float(cos_sim(*pair)) for pair in zip(batch, single, strict=True)]}


if __name__ == "__main__":
    # this folder would hide packages of the same name
    sys.path.pop(0)
    tool, model_folder, work_folder = sys.argv[1:]
    Path(work_folder).mkdir(exist_ok=True)
    print(json.dumps(globals()[tool](model_folder, work_folder)))
