"""Write adapters for the demo's tests."""

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


def write_prompt_tuning(model: Path, folder: Path) -> None:
    """Write an adapter of vectors before the prompt, which can't be merged into a model."""
    from peft import PromptTuningConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    get_peft_model(AutoModelForCausalLM.from_pretrained(model), config).save_pretrained(folder)
