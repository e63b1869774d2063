"""One temperature for all of a model's predictions, found on held-out reviews and folded into its weights.

A model that has seen its training reviews many times is too sure of itself on others (Guo et al. 2017, "On Calibration
of Modern Neural Networks"), one that saw them rarely or through much dropout not sure enough. One factor for all
logits puts that right and leaves the words in their order.
"""

import torch
from accelerate import Accelerator
from datasets import Dataset
from transformers import PreTrainedTokenizerFast

from wine_gpt.modeling.language_model import LanguageModelLoss
from wine_gpt.modeling.scoring import score

# from one scale that is tried to the next; the loss is flat around its lowest point
STEP = 0.98
# to half or twice the logits, further than any useful model is off
MOST_STEPS = 34


@torch.no_grad()
def calibrate(
    module: LanguageModelLoss, split: Dataset, tokenizer: PreTrainedTokenizerFast, accelerator: Accelerator
) -> float:
    """Scale the model's logits, down or up, as long as its loss on a tokenized split falls.

    The loss is convex in the scale. The head multiplies what the last layer norm gives, so scaling that layer's
    weights scales the logits.

    Returns:
        what the logits were multiplied by; the same on all processes.
    """
    norm = [parameter.data for parameter in module.model.transformer.ln_f.parameters()]
    trained = [tensor.clone() for tensor in norm]

    def scaled(steps: int) -> float:
        for tensor, original in zip(norm, trained, strict=True):
            tensor.copy_(original * STEP**steps)
        return score(module, split, tokenizer, accelerator).nats_per_word

    best, lowest = 0, scaled(0)
    for direction in (1, -1):
        while abs(best) < MOST_STEPS and (found := scaled(best + direction)) < lowest:
            best, lowest = best + direction, found
    scaled(best)
    return float(STEP**best)
