"""The figures of a classifier, as dataclasses with the keys of its ``metrics.json``."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from wine_gpt.files import JsonObject
from wine_gpt.finetuning.results import BaseReference
from wine_gpt.tasks.classification.objective import ClassifierScore
from wine_gpt.training.record import Environment, TrainingSummary

# the fields of a metrics file that are plain JSON
PLAIN = ("label", "classes", "ordered", "left_out", "missing", "reviews", "named_in_text", "settings", "parameters")


@dataclass(frozen=True)
class ClassifierMetrics:
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
        settings: the settings that must be equal on resume, by dotted key; empty in a published file.
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
    settings: JsonObject
    environment: Environment
    parameters: int

    def to_dict(self) -> JsonObject:
        """Return a JSON object."""
        return {
            **dataclasses.asdict(self),
            "test": self.test.to_dict(),
            "validation": self.validation.to_dict(),
            "baselines": {name: score.to_dict() for name, score in self.baselines.items()},
            "training": self.training.to_dict("nats_per_review"),
        }

    @classmethod
    def from_dict(cls, content: JsonObject) -> Self:
        """Read what :meth:`to_dict` returned."""
        return cls(
            **{name: content[name] for name in PLAIN},
            base=BaseReference(**content["base"]),
            test=ClassifierScore.from_dict(content["test"]),
            validation=ClassifierScore.from_dict(content["validation"]),
            baselines={name: ClassifierScore.from_dict(score) for name, score in content["baselines"].items()},
            training=TrainingSummary.from_dict(content["training"]),
            environment=Environment(**content["environment"]),
        )


def is_classifier(metrics: Mapping[str, object]) -> bool:
    """Return whether the content of a metrics file is a classifier's."""
    return "classes" in metrics
