"""Fine-tune a base model to find a review's label, such as its variety, from its description.

``classify`` is not exported here, because ``wine_gpt.tasks.classification.classify`` is the module that defines it.
"""

from typing import TYPE_CHECKING

from wine_gpt.lazy import exports_lazily

if TYPE_CHECKING:
    from wine_gpt.tasks.classification.results import ClassifierMetrics

__all__ = ["ClassifierMetrics"]

__getattr__ = exports_lazily(__name__, {"ClassifierMetrics": "results"})
