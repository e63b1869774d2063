"""Load reviews from any source: typed, distinct, split, and batched."""

from wine_gpt.data.report import DataReport
from wine_gpt.data.reviews import Reviews, load_reviews, texts
from wine_gpt.data.template import COMPOSED, ReviewTemplate

__all__ = ["COMPOSED", "DataReport", "ReviewTemplate", "Reviews", "load_reviews", "texts"]
