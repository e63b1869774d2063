"""The figures of an evaluation, as dataclasses with the keys of ``evaluation/metrics.json``.

``docs/evaluation.md`` explains each figure. ``CONTRIBUTING.md`` says under "Add a metric" how to add one.
"""

from dataclasses import dataclass

from wine_gpt.files import JsonRecord
from wine_gpt.training.record import Environment


@dataclass(frozen=True)
class Likelihood(JsonRecord):
    """How well a model predicts held-out texts; see the metric ``word_perplexity``."""

    nats_per_word: float
    perplexity: float
    # fraction of the tokens
    unknown_rate: float
    words: int
    reviews: int
    # None if no text fits into the model's positions
    end_of_text_nats: float | None
    bits_per_character: float
    # expected calibration error, 0 to 1
    calibration_error: float


@dataclass(frozen=True)
class CopyingResult(JsonRecord):
    """The longest spans, in words, that texts have in common with training texts; see the metric ``copying``."""

    texts: int
    mean_longest: float
    median_longest: float
    longest: int
    # fraction of the texts with a span of at least 10, 15 or 20 words
    share_10: float
    share_15: float
    share_20: float


@dataclass(frozen=True)
class DiversityResult(JsonRecord):
    """How much texts differ from one another; see the metric ``diversity``."""

    distinct_1: float
    distinct_2: float
    distinct_3: float
    self_bleu: float
    repeated_4: float
    # in words
    mean_length: float
    sd_length: float
    length_distance: float


@dataclass(frozen=True)
class ConditioningResult(JsonRecord):
    """How often a classifier recovers each prompt field from a description; see the metric ``conditioning``.

    Attributes:
        rates: for each kind of text (``generated``, ``real``, and ``commonest``, which always guesses the commonest
            label), field to the fraction recovered.
        existing_provinces: fraction of the generated headers whose province lies in their country; None without these
            two fields.
    """

    rates: dict[str, dict[str, float]]
    existing_provinces: float | None


@dataclass(frozen=True)
class Sampling(JsonRecord):
    """How the generated texts were sampled; ``settings`` has names of :class:`transformers.GenerationConfig`."""

    texts: int
    seed: int
    settings: dict[str, float | None]


@dataclass(frozen=True, kw_only=True)
class EvaluationReport(JsonRecord):
    """All figures of one model on one split.

    Attributes:
        model: folder or Hub id.
        split: whose reviews were scored.
        texts_fingerprint: a hash of the scored texts and their order.
        likelihood: of the split's texts.
        baselines: nats per word of n-gram models by name, over the words of ``likelihood``.
        copying: by kind of text: ``generated``, ``real``, ``continued`` (from the first halves of training texts).
        diversity: by kind of text: ``generated``, ``real``.
        conditioning: None if no field could be measured.
        samples: how the generated texts were sampled.
        environment: device and package versions of the evaluation.
    """

    model: str
    split: str
    texts_fingerprint: str
    likelihood: Likelihood
    baselines: dict[str, float]
    copying: dict[str, CopyingResult]
    diversity: dict[str, DiversityResult]
    conditioning: ConditioningResult | None = None
    samples: Sampling
    environment: Environment
