"""Load reviews from any source: typed, distinct, split, and batched."""

from wine_gpt.data.report import DataReport
from wine_gpt.data.reviews import Reviews, load_reviews, texts

__all__ = ["DataReport", "Reviews", "load_reviews", "texts"]
