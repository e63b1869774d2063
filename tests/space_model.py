"""What a published model has besides the model: an index of hashed n-grams, and adapters."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

N, HASHES, BITS = 6, 14, 80_000


def write_index(folder: Path, texts: Sequence[str]) -> None:
    """Write a Bloom filter over the texts' n-grams, as publishing does."""
    bits = np.zeros(BITS, dtype=bool)
    ngrams = set()
    for text in texts:
        words = re.findall(r"[^\w\s]|\w+", text.lower())
        ngrams |= {" ".join(words[start : start + N]) for start in range(len(words) - N + 1)}
    for ngram in ngrams:
        first, second = np.frombuffer(hashlib.blake2b(ngram.encode(), digest_size=16).digest(), dtype="<u8")
        for turn in range(HASHES):
            bits[(int(first) + turn * (int(second) | 1)) % 2**64 % BITS] = True
    metadata = {"format": "wine_gpt.ngrams.v1", "n": N, "hashes": HASHES, "bits": BITS, "ngrams": len(ngrams)}
    save_file(
        {"filter": np.packbits(bits, bitorder="little")},
        folder / "training_ngrams.safetensors",
        metadata={name: str(value) for name, value in {**metadata, "reviews": len(texts)}.items()},
    )


def write_adapter(model: Path, folder: Path, seed: int) -> None:
    """Write a LoRA adapter whose weights are random, so that what it writes differs."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    adapted = get_peft_model(
        AutoModelForCausalLM.from_pretrained(model),
        LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True, init_lora_weights=False),
    )
    adapted.save_pretrained(folder)
