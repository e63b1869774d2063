"""What a classifier is compared with: the commonest label, and logistic regression on the words' TF-IDF."""

import importlib.util
import logging
from collections.abc import Sequence

import numpy as np

from wine_gpt.data.batching import Indices
from wine_gpt.errors import one_line
from wine_gpt.tasks.classification.labels import Numbers
from wine_gpt.tasks.classification.results import ClassifierScore

logger = logging.getLogger(__name__)

COMMONEST, TF_IDF = "commonest label", "TF-IDF + logistic regression"
# inverse of the L2 penalty: the best of 3, 10, 30 and 100 on the validation split of 8,000 real reviews
INVERSE_PENALTY = 30.0
# a class that the training reviews lack has this probability, so that its loss is finite
MIN_PROBABILITY = 1e-12


def score_baselines(
    train: tuple[Sequence[str], Indices], test: tuple[Sequence[str], Indices], classes: int, ordered: bool
) -> dict[str, ClassifierScore]:
    """Score the baselines on a test split.

    TF-IDF is left out if scikit-learn is not installed or no two training texts share a word.

    Args:
        train: texts and their classes, int64 of shape (texts,).
        test: texts and their classes, int64 of shape (texts,).
        classes: the number of classes.
        ordered: whether the classes have an order.
    """
    scores = {COMMONEST: score_commonest(train[1], test[1], classes, ordered)}
    if importlib.util.find_spec("sklearn") is not None:
        try:
            scores[TF_IDF] = score_tf_idf(train, test, classes, ordered)
        except ValueError as error:
            logger.warning(f"{TF_IDF} left out: {one_line(error)}")
    return scores


def score_commonest(train: Indices, test: Indices, classes: int, ordered: bool) -> ClassifierScore:
    """Score predicting every class with its frequency among the training reviews."""
    frequencies = np.bincount(train, minlength=classes) / len(train)
    return ClassifierScore.of(np.tile(_logarithm(frequencies), (len(test), 1)), test, ordered)


def score_tf_idf(
    train: tuple[Sequence[str], Indices], test: tuple[Sequence[str], Indices], classes: int, ordered: bool
) -> ClassifierScore:
    """Score logistic regression on the TF-IDF of words and pairs of words that two training texts have.

    Raises:
        ValueError: if there is no such word. One letter is no word for scikit-learn.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2)
    model = make_pipeline(words, LogisticRegression(C=INVERSE_PENALTY, max_iter=1000))
    model.fit(list(train[0]), train[1])
    probabilities = np.zeros((len(test[1]), classes))
    probabilities[:, model.classes_] = model.predict_proba(list(test[0]))
    return ClassifierScore.of(_logarithm(probabilities), test[1], ordered)


def _logarithm(probabilities: Numbers) -> Numbers:
    return np.log(np.maximum(probabilities, MIN_PROBABILITY))
