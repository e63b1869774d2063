"""LoRA adapters, made with PEFT."""

import typing

from transformers import GPT2LMHeadModel, set_seed

from wine_gpt.config import LoraConfig
from wine_gpt.errors import UserError, one_line
from wine_gpt.modeling.pretrained import quiet_peft


def build_adapter(model: GPT2LMHeadModel, config: LoraConfig, seed: int) -> GPT2LMHeadModel:
    """Add a LoRA adapter to a model and freeze the model's weights; before training the adapter changes no output.

    Raises:
        UserError: if the model has none of the layers in ``config.targets``.
    """
    import peft

    set_seed(seed)
    settings = peft.LoraConfig(
        task_type=peft.TaskType.CAUSAL_LM,
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=list(config.targets),
        # GPT-2's Conv1D stores its weights as (inputs, outputs)
        fan_in_fan_out=True,
    )
    try:
        with quiet_peft():
            # a PeftModel forwards attributes and calls to the model inside
            return typing.cast(GPT2LMHeadModel, peft.get_peft_model(model, settings))
    except ValueError as error:
        raise UserError(f"lora.targets: {one_line(error)}") from error


def without_peft(model: GPT2LMHeadModel) -> GPT2LMHeadModel:
    """Return the model inside a PeftModel, whose layers have the adapter, because it decodes faster; or the model."""
    return getattr(model, "get_base_model", lambda: model)()
