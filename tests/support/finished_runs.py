"""Run folders as ``pretrain.py``, ``score.py`` and ``finetune.py`` write them, made from a toy model."""

import hashlib
import json
import math
import shutil
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model

from wine_gpt.config import DataConfig, FinetuneConfig, ModelConfig, PretrainConfig, TrainingConfig
from wine_gpt.config import LoraConfig as LoraSettings
from wine_gpt.config_io import to_yaml
from wine_gpt.data.sources import is_hub_dataset
from wine_gpt.data.template import ReviewTemplate
from wine_gpt.modeling.pretrained import load_model
from wine_gpt.tokenizer import load_tokenizer, save_tokenizer
from wine_gpt.training.resume import settings_fixed_on_resume

LORA = LoraSettings(rank=2, alpha=8, targets=("c_attn",))
# a PNG of one pixel
PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c636060f80f00010401005fe5c34b"
    "0000000049454e44ae426082"
)
SCORE = {
    "nats_per_word": 1.25,
    "perplexity": math.exp(1.25),
    "unknown_rate": 0.013,
    "words": 1234,
    "reviews": 21,
    "end_of_text_nats": 0.1,
}
ENVIRONMENT = {
    "python": "3.11.0",
    "packages": {"wine_gpt": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0"},
    "device": "cpu (x86_64)",
    "threads": 2,
}
TRAINING: dict[str, Any] = {
    "steps": 40,
    "epochs": [{"epoch": 1, "step": 20, "nats_per_word": 2.0}, {"epoch": 2, "step": 40, "nats_per_word": 1.5}],
    "best_epoch": 2,
    "tokens": 5600,
    "seconds": 90.4,
    "tokens_per_second": 62,
    "padding_fraction": 0.01,
    "reviews_cut": 0,
    "words_cut": 0.0,
    "processes": 1,
    "mixed_precision": "no",
}
METRICS: dict[str, Any] = {
    "validation": {**SCORE, "nats_per_word": 1.5, "perplexity": math.exp(1.5)},
    "test": SCORE,
    "data_fingerprint": "0123abcd",
    "training": TRAINING,
    "parameters": 24_000,
    "peak_memory_bytes": {"resident": 512_000_000},
    "environment": ENVIRONMENT,
}
EVALUATION: dict[str, Any] = {
    "model": "/home/somebody/runs/base",
    "split": "test",
    "texts_fingerprint": "4567cdef",
    "likelihood": {**SCORE, "bits_per_character": 1.1, "calibration_error": 0.02},
    "baselines": {"uniform": 9.21, "unigram": 5.8, "bigram": 4.1, "5-gram": 3.6},
    "copying": {
        "generated": {
            "texts": 100,
            "mean_longest": 9.25,
            "median_longest": 9.0,
            "longest": 20,
            "share_10": 0.4,
            "share_15": 0.12,
            "share_20": 0.01,
        },
        "real": {
            "texts": 100,
            "mean_longest": 8.75,
            "median_longest": 8.5,
            "longest": 18,
            "share_10": 0.35,
            "share_15": 0.1,
            "share_20": 0.0,
        },
    },
    "diversity": {
        "generated": {
            **{"distinct_1": 0.1, "distinct_2": 0.4, "distinct_3": 0.7, "self_bleu": 0.5, "repeated_4": 0.001},
            **{"mean_length": 31.5, "sd_length": 8.0, "length_distance": 1.5},
        },
        "real": {
            **{"distinct_1": 0.12, "distinct_2": 0.45, "distinct_3": 0.8, "self_bleu": 0.4, "repeated_4": 0.0},
            **{"mean_length": 33.0, "sd_length": 9.0, "length_distance": 0.0},
        },
    },
    "conditioning": {
        "rates": {
            "generated": {"variety": 0.81, "country": 0.9},
            "real": {"variety": 0.85, "country": 0.93},
            "commonest": {"variety": 0.1, "country": 0.4},
        },
        "existing_provinces": 0.99,
    },
    "samples": {"texts": 100, "seed": 42, "settings": {"do_sample": True, "temperature": 0.8, "top_p": 0.9}},
    "environment": ENVIRONMENT,
}


def finish(model: Path, folder: Path, path: str = "sample", **data: object) -> Path:
    """Copy a model's folder and add the other files of a finished run; ``data`` are more data settings."""
    shutil.copytree(model, folder)
    (folder / "metrics.json").write_text(json.dumps(METRICS))
    config = PretrainConfig(
        data=DataConfig(path=path, **data),
        model=ModelConfig(n_layer=2, n_head=2, n_embd=32, n_inner=64, block_size=64),
        training=TrainingConfig(epochs=2),
        output_dir=str(folder),
    )
    (folder / "config.yaml").write_text(to_yaml(config))
    ReviewTemplate.from_config(config.data).save(folder)
    generation = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps({**generation, "temperature": 0.8, "top_p": 0.9}))
    samples = [
        {"epoch": 1, "step": 20, "text": "wine review : italy : tuscany : tempranillo : it's a dull wine."},
        {"epoch": 2, "step": 40, "text": "wine review : spain : rioja : riesling : it's a light-bodied, crisp wine."},
        {"epoch": 2, "step": 40, "text": "wine review : it's ``` <b>bold</b>. drink now."},
    ]
    (folder / "samples.jsonl").write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    report = {
        "source": str(folder / "reviews.json") if path == "sample" else path,
        "from_hub": is_hub_dataset(path),
        "read": 230,
        "blank": 0,
        "dropped": {"country": 4},
        "duplicates": 10,
        "splits": {"train": 190, "validation": 13, "test": 13},
        "cut": 0,
        "characters_removed": 0,
        "kept": 216,
    }
    (folder / "data_report.json").write_text(json.dumps(report))
    (folder / "loss.png").write_bytes(PICTURE)
    return folder


def evaluate(folder: Path) -> None:
    """Add the files of ``score.py``."""
    (folder / "evaluation").mkdir()
    (folder / "evaluation" / "metrics.json").write_text(json.dumps(EVALUATION))
    (folder / "evaluation" / "reliability.png").write_bytes(PICTURE + b"another")


def clutter(folder: Path, secret: str) -> None:
    """Add files that must never be published."""
    for name in (
        ".env",
        "checkpoints/step-00000040/optimizer.safetensors",
        "checkpoints/step-00000040/model.safetensors",
        "runs/events.out.tfevents.1",
        "wandb/run-1/output.log",
        "trainer_state.json",
        "reviews.json",
        "notes.txt",
        "evaluation/generated.jsonl",
        ".git/config",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"HF_TOKEN={secret} {name}")


def adapt(
    run: Path,
    folder: Path,
    value: str,
    *,
    field: str = "variety",
    better: bool = True,
    method: str = "lora",
    seed: int = 0,
) -> Path:
    """Add a fine-tuned model with random weights to ``folder``, as ``finetune.py`` would."""
    target = folder / value.lower().replace(" ", "-")
    torch.manual_seed(seed)
    model = load_model(run)
    if method == "lora":
        size = {"r": LORA.rank, "lora_alpha": LORA.alpha, "target_modules": [*LORA.targets]}
        shape = LoraConfig(**size, fan_in_fan_out=True, init_lora_weights=False)
        get_peft_model(model, shape).save_pretrained(target)
    else:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.05)
        model.save_pretrained(target)
    save_tokenizer(load_tokenizer(run), target)
    config = FinetuneConfig(
        method=method,
        base=str(run),
        field=field,
        value=value,
        lora=LORA if method == "lora" else LoraSettings(),
        training=TrainingConfig(epochs=2, learning_rate=3e-4, micro_batches=2, trackers="wandb"),
    )
    (target / "finetune.yaml").write_text(to_yaml(config))
    settings = {**settings_fixed_on_resume(config, "no"), "method": method, "field": field, "value": value}
    metrics = {
        "field": field,
        "value": value,
        "method": method,
        "base": {
            "path": str(run),
            "weights_sha256": hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest(),
        },
        "reviews": {"train": 60, "validation": 6, "test": 6},
        "comparison": {
            "whole": _pair(3.2, -0.086 - seed / 1000, -0.12, -0.05),
            "after_header": _pair(3.4, -0.01, -0.03, 0.01),
            "better": better,
            "train_fraction": 0.003,
            "value_hidden": {
                "base": {**SCORE, "nats_per_word": math.log(3.7)},
                "perplexity_change": {"value": -0.0811, "low": -0.1, "high": -0.06, "level": 0.95},
            },
        },
        "training": TRAINING,
        "alpha": 0.5,
        "validation_by_alpha": {"0.0": {"whole": 1.3, "text": 1.2}, "0.5": {"whole": 1.2, "text": 1.2}},
        "settings": {**settings, "base": "a checksum", "data": "a checksum"},
        "seconds": 12.3,
        "copying": {"generated": 6.5, "real": 6.25},
        "size_bytes": 34_567,
        "header": {"country": "Spain", "province": "Rioja", field: value},
        "environment": ENVIRONMENT,
    }
    (target / "metrics.json").write_text(json.dumps(metrics))
    (target / "checkpoints").mkdir()
    (target / "checkpoints" / "optimizer.safetensors").write_text("state")
    return target


def _pair(perplexity: float, change: float, low: float, high: float) -> dict[str, Any]:
    """Return the scores of a fine-tuned model and of its base, whose perplexity is 3.5."""
    return {
        "base": {**SCORE, "perplexity": 3.5, "nats_per_word": math.log(3.5)},
        "tuned": {**SCORE, "perplexity": perplexity, "nats_per_word": math.log(perplexity)},
        "perplexity_change": {"value": change, "low": low, "high": high, "level": 0.95},
    }


def demo(folder: Path, secret: str) -> Path:
    """Write a demo's sources, and files that must not be published with them."""
    folder.mkdir()
    (folder / "app.py").write_text("print('a demo')\n")
    (folder / "requirements.txt").write_text("transformers\n")
    metadata = "title: a demo\nsdk: gradio\nsdk_version: 6.31.0\napp_file: app.py\nlicense: apache-2.0\n"
    (folder / "README.md").write_text(f"---\n{metadata}---\n\n# A demo\n\nIt writes.\n")
    (folder / "static").mkdir()
    (folder / "static" / "style.css").write_text("body {}\n")
    for name in (".env", "__pycache__/app.cpython-311.py", "flagged.csv", ".gradio/certificate.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(secret)
    return folder
