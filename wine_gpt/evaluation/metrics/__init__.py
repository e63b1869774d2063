"""What a language model of reviews is judged by: modules of ``evaluate`` that need nothing else of this package.

Each folder loads with ``evaluate.load("wine_gpt/evaluation/metrics/copying")``, without a network, and can be
published as it is. ``evaluate`` runs a copy of the file, so none of them imports from its neighbors; and it takes the
first metric class that it finds in the file, so they say ``evaluate.Metric`` and import no class of that library by
name.
"""

from pathlib import Path
from typing import Any

from wine_gpt.errors import UserError

METRICS = ("word_perplexity", "copying", "diversity", "conditioning")


def load_metric(name: str) -> Any:  # noqa: ANN401 - evaluate.EvaluationModule, untyped
    """Load one of :data:`METRICS`.

    Raises:
        UserError: if ``evaluate`` or scikit-learn is not installed.
    """
    try:
        import evaluate

        return evaluate.load(str(Path(__file__).parent / name), keep_in_memory=True)
    except ImportError as error:
        raise UserError(f'evaluation needs {error.name or "more"}: pip install "wine_gpt[evaluation]"') from None
