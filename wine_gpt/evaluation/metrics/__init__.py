"""The metrics of an evaluation, as modules of ``evaluate`` that import nothing of wine_gpt.

Each folder loads with ``evaluate.load("wine_gpt/evaluation/metrics/copying")``, without a network, and can be
published unchanged. ``evaluate`` runs a copy of the file, so a metric can't import another metric's file. ``evaluate``
takes the first metric class in the file's namespace, so a metric must not import ``evaluate.Metric`` by name.
"""

from pathlib import Path
from typing import Any

from wine_gpt.errors import UserError
from wine_gpt.installation import install_command


def load_metric(name: str) -> Any:  # noqa: ANN401 - evaluate.EvaluationModule, untyped
    """Load the metric of a folder beside this file.

    Raises:
        UserError: if ``evaluate`` or scikit-learn is not installed.
    """
    try:
        import evaluate

        return evaluate.load(str(Path(__file__).parent / name), keep_in_memory=True)
    except ImportError as error:
        raise UserError(f"evaluation needs {error.name or 'more'}: {install_command('evaluation')}") from None
