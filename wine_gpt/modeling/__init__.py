"""Build, load, save and score a GPT-2."""

from wine_gpt.modeling.gpt2 import build_model
from wine_gpt.modeling.loss import LanguageModelLoss
from wine_gpt.modeling.pretrained import load_model, save_model
from wine_gpt.modeling.scoring import score

__all__ = ["LanguageModelLoss", "build_model", "load_model", "save_model", "score"]
