"""How often a classifier, trained on real texts, recovers the label of a generated text's prompt."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import datasets
import evaluate
import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

DESCRIPTION = """
The fraction of texts from which a classifier recovers the label in the text's prompt, such as a wine's variety. The
classifier (scikit-learn: TF-IDF of words and pairs of words, logistic regression) is trained on real texts. It errs on
real texts too, so compare the rate on generated texts with the rate on real texts that it was not trained on.
"""

INPUTS = """
Args:
    predictions: texts, or the words of each text.
    references: the label in the prompt of each.
    train_texts: real texts, or their words.
    train_labels: their labels.
    min_texts: labels with fewer real texts are left out, and so are the predictions with these labels.
    max_train_texts: the classifier is trained on a sample of at most this many real texts.
    seed: of the sample.

Returns:
    rate: the fraction of the texts whose label is recovered; 0 to 1.
    baseline: the rate of always guessing the commonest label.
    texts: how many texts have a label that the classifier knows.
    classes: how many labels it knows.
    recovered: for each text 1.0 or 0.0, or None where the classifier doesn't know the label.

Raises:
    ValueError: if fewer than two labels have enough texts, or no prediction has one of these labels.

Examples:
    >>> metric = evaluate.load("wine_gpt/evaluation/metrics/conditioning")
    >>> train = ["black plum", "ripe plum", "lime zest", "tart lime"]
    >>> figures = metric.compute(
    ...     predictions=["plum jam", "lime", "lime"],
    ...     references=["Malbec", "Riesling", "Malbec"],
    ...     train_texts=train,
    ...     train_labels=["Malbec", "Malbec", "Riesling", "Riesling"],
    ...     min_texts=2,
    ... )
    >>> figures["recovered"]
    [1.0, 1.0, 0.0]
"""


def text_of(text: str | Sequence[str]) -> str:
    """Return a text whose words may be given as a list."""
    return text if isinstance(text, str) else " ".join(text)


class Conditioning(evaluate.Metric):
    """See ``DESCRIPTION``."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="",
            inputs_description=INPUTS,
            features=[
                datasets.Features({"predictions": prediction, "references": datasets.Value("string")})
                for prediction in (datasets.List(datasets.Value("string")), datasets.Value("string"))
            ],
        )

    def compute(self, *, predictions: Any = None, **inputs: Any) -> Any:  # noqa: ANN401 - untyped in evaluate
        """Refuse an empty list; settings of others, which ``evaluate.combine`` passes to all, are ignored."""
        if predictions is not None and not len(predictions):
            raise ValueError("there is no text: predictions is empty")
        return super().compute(predictions=predictions, **inputs)

    def _compute(
        self,
        predictions: Sequence[str | Sequence[str]],
        references: Sequence[str],
        train_texts: Sequence[str | Sequence[str]],
        train_labels: Sequence[str],
        min_texts: int = 20,
        max_train_texts: int = 20_000,
        seed: int = 42,
        **_: object,
    ) -> dict[str, float | list[float | None]]:
        counts = Counter(train_labels)
        classes = {label for label, count in counts.items() if count >= min_texts}
        if len(classes) < 2:
            raise ValueError(f"{len(classes)} labels have {min_texts} texts to train on, and two are needed")
        scored = [index for index, label in enumerate(references) if label in classes]
        if not scored:
            raise ValueError(f"no prompt has a label with {min_texts} texts to train on")
        usable = np.array([index for index, label in enumerate(train_labels) if label in classes])
        sampled = np.random.default_rng(seed).permutation(usable)[:max_train_texts].tolist()
        classifier = make_pipeline(
            TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2, max_features=20_000),
            LogisticRegression(C=10, max_iter=200),
        )
        classifier.fit([text_of(train_texts[index]) for index in sampled], [train_labels[index] for index in sampled])
        guessed = classifier.predict([text_of(predictions[index]) for index in scored])
        correct = [float(label == references[index]) for index, label in zip(scored, guessed, strict=True)]
        recovered: list[float | None] = [None] * len(references)
        for index, value in zip(scored, correct, strict=True):
            recovered[index] = value
        commonest = max(sorted(classes), key=lambda label: counts[label])
        return {
            "rate": float(np.mean(correct)),
            "baseline": float(np.mean([references[index] == commonest for index in scored])),
            "texts": len(scored),
            "classes": len(classes),
            "recovered": recovered,
        }
