"""Find the training reviews that are most like a text, where WINE_GPT_REVIEWS names a run with its reviews.

A published Space has no reviews, and so no such tab. The search needs this package and sentence-transformers:
docs/similarity.md.
"""

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from i18n import UserFacingError

if TYPE_CHECKING:
    from wine_gpt.tasks.similarity import SimilarityIndex

VARIABLE = "WINE_GPT_REVIEWS"
SHOWN = 5


def load_reviews(environment: Mapping[str, str] = os.environ) -> "SimilarityIndex | None":
    """Load the index of the run that WINE_GPT_REVIEWS names, or make it; None if the variable is not set.

    Raises:
        UserFacingError: if the run has no reviews, or a package is missing.
    """
    run = environment.get(VARIABLE, "").strip()
    if not run:
        return None
    try:
        from wine_gpt.tasks.similarity import load_index

        return load_index(run)
    # any error of the run or of a missing package: the page works without its reviews
    except Exception as error:
        print(f"{VARIABLE}: {error}", file=sys.stderr)
        raise UserFacingError("problem_reviews", variable=VARIABLE) from error


def most_similar(index: "SimilarityIndex", text: str) -> list[tuple[str, str]]:
    """Return the cosine and the text of the reviews that are most like a text.

    Raises:
        UserFacingError: if the model knows no word of the text.
    """
    from wine_gpt.errors import UserError

    try:
        found = index.search(text, min(SHOWN, len(index.reviews)))
    except UserError as error:
        raise UserFacingError("problem_no_word", field="text") from error
    return [(f"{review.similarity:.2f}", review.text) for review in found]
