"""The figures of a classifier, as dataclasses with the keys of its ``metrics.json``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import cross_entropy

from wine_gpt.data.batching import Indices
from wine_gpt.files import JsonObject, JsonRecord
from wine_gpt.finetuning.results import BaseReference
from wine_gpt.training.record import Environment, TrainingSummary


@dataclass(frozen=True)
class ClassifierScore(JsonRecord):
    """How well a classifier finds the labels of a split.

    Attributes:
        accuracy: fraction of the reviews whose label has the highest probability, 0 to 1.
        macro_f1: mean F1 of the labels that the split's reviews or predictions have, 0 to 1.
        nats_per_review: mean -ln p of the label.
        reviews: the number of reviews.
        mean_distance: mean number of labels between the label and the prediction; None if labels have no order.
    """

    accuracy: float
    macro_f1: float
    nats_per_review: float
    reviews: int
    mean_distance: float | None = None

    def __str__(self) -> str:
        return (
            f"accuracy {self.accuracy:.3f}, macro-F1 {self.macro_f1:.3f}, {self.nats_per_review:.3f} nats per review"
        )

    @classmethod
    def of(cls, logits: npt.NDArray[np.floating[Any]], labels: Indices, ordered: bool) -> Self:
        """Score logits, or log probabilities, of shape (reviews, classes) against labels of shape (reviews,)."""
        predicted = logits.argmax(axis=1)
        nats = cross_entropy(torch.from_numpy(logits).double(), torch.from_numpy(labels))
        distance = float(np.abs(predicted - labels).mean()) if ordered else None
        accuracy = float((predicted == labels).mean())
        return cls(accuracy, macro_f1(predicted, labels), float(nats), len(labels), distance)

    @property
    def loss(self) -> float:
        """The figure that is lowest for the best epoch: the nats per review."""
        return self.nats_per_review

    def figures(self) -> dict[str, float]:
        """Return the figures for the log and for trackers, by name."""
        return {"accuracy": self.accuracy, "macro_f1": self.macro_f1, "nats_per_review": self.nats_per_review}


def macro_f1(predicted: Indices, labels: Indices) -> float:
    """Return the mean F1 over the classes that the labels or the predictions have, as scikit-learn does."""
    classes = np.union1d(predicted, labels)
    hits = np.array([((predicted == name) & (labels == name)).sum() for name in classes])
    sizes = np.array([(predicted == name).sum() + (labels == name).sum() for name in classes])
    return float((2 * hits / sizes).mean())


@dataclass(frozen=True, kw_only=True)
class ClassifierMetrics(JsonRecord):
    """The metrics file of a classifier.

    Attributes:
        label: the column of the labels.
        classes: the labels in the order of their ids, with their number of training reviews.
        ordered: whether the labels are numbers or bands of numbers.
        left_out: values with too few training reviews, with their number in all splits.
        missing: the number of reviews without a value.
        base: the model that was fine-tuned.
        reviews: split to number of reviews with a label.
        test: score on the test split.
        validation: score on the validation split.
        baselines: scores of other methods on the test split, by name.
        named_in_text: fraction of the test reviews whose text has the words of the label's name, 0 to 1.
        training: see :class:`TrainingSummary`; its ``epochs`` have nats per review.
        settings: the settings that must be equal on resume, by dotted key; None in a published file.
        environment: see :class:`Environment`.
        parameters: the number of the model's parameters.
    """

    label: str
    classes: dict[str, int]
    ordered: bool
    left_out: dict[str, int]
    missing: int
    base: BaseReference
    reviews: dict[str, int]
    test: ClassifierScore
    validation: ClassifierScore
    baselines: dict[str, ClassifierScore]
    named_in_text: float
    training: TrainingSummary
    settings: JsonObject | None = None
    environment: Environment
    parameters: int


def is_classifier(metrics: Mapping[str, object]) -> bool:
    """Return whether the content of a metrics file is a classifier's."""
    return "classes" in metrics
