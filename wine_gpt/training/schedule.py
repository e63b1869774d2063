"""The learning-rate schedule: linear warm-up, then cosine decay."""

import math

from wine_gpt.config import TrainingConfig


def learning_rate(step: int, total_steps: int, config: TrainingConfig) -> float:
    """Return the learning rate of a step, counted from 0.

    It rises linearly to the peak during the warm-up and falls along half a cosine, which would end at
    ``final_learning_rate_ratio`` of the peak one step after the last.
    """
    warmup = math.ceil(config.warmup_ratio * total_steps)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(total_steps - warmup, 1)
    floor = config.final_learning_rate_ratio
    return config.learning_rate * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress)))
