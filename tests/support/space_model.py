"""Write LoRA adapters for the demo's tests."""

from pathlib import Path

import torch


def write_adapter(model: Path, folder: Path, seed: int) -> None:
    """Write a LoRA adapter with random weights, so that it changes what the model generates."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    adapted = get_peft_model(
        AutoModelForCausalLM.from_pretrained(model),
        LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True, init_lora_weights=False),
    )
    adapted.save_pretrained(folder)
