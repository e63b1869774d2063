"""Load reviews from any source: typed, distinct, split, and batched."""

from typing import TYPE_CHECKING

from wine_gpt.lazy import exports_lazily

if TYPE_CHECKING:
    from wine_gpt.data.report import DataReport
    from wine_gpt.data.reviews import Reviews, load_reviews, texts
    from wine_gpt.data.template import COMPOSED, ReviewTemplate

__all__ = ["COMPOSED", "DataReport", "ReviewTemplate", "Reviews", "load_reviews", "texts"]

__getattr__ = exports_lazily(
    __name__,
    {
        "DataReport": "report",
        **dict.fromkeys(("Reviews", "load_reviews", "texts"), "reviews"),
        **dict.fromkeys(("COMPOSED", "ReviewTemplate"), "template"),
    },
)
