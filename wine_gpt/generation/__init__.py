"""Sample texts from a model and explain how each word was chosen."""

from wine_gpt.generation.explain import explain
from wine_gpt.generation.generate import ReviewStreamer, generate_texts

__all__ = ["ReviewStreamer", "explain", "generate_texts"]
