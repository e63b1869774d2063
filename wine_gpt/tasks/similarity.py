"""Find the training reviews that are most like a text, by embeddings of their descriptions.

A description's embedding is the mean of a GPT-2's last hidden states over its tokens, whitened: centered, and scaled
so that all directions vary equally over the training reviews, because the mean states of a language model lie in a
narrow cone (Su et al. 2021, "Whitening Sentence Representations for Better Semantics and Faster Retrieval"). The model
is saved as a sentence-transformers model, which needs no code of this package. The header is not embedded, so that the
variety is not given away.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from datasets import Dataset

from wine_gpt.base_model import base_of, data_settings
from wine_gpt.config import PretrainConfig, ReviewsConfig
from wine_gpt.config_io import build_config
from wine_gpt.data.reviews import Reviews, load_recorded_reviews
from wine_gpt.data.template import COMPOSED, ReviewTemplate
from wine_gpt.errors import UserError, one_line, require_characters
from wine_gpt.files import JsonObject, read_json, sha256, write_json, writing
from wine_gpt.installation import require_package
from wine_gpt.model_path import describe_missing
from wine_gpt.modeling.pretrained import quiet_transformers
from wine_gpt.run_folder import (
    CONFIG,
    METRICS,
    SENTENCE_MODULES,
    SIMILARITY,
    WEIGHTS,
    require_writable,
)
from wine_gpt.tasks.classification.results import is_classifier

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)

Embeddings = npt.NDArray[np.float32]

# in the run's folder SIMILARITY, beside the files of sentence-transformers
TRAINING_EMBEDDINGS = "training_embeddings.npy"
# names the weights and the reviews of the embeddings
INDEX = "index.json"
# added to each direction's variance, as a fraction of the mean variance, so that no direction is only noise
SHRINKAGE = 0.1
# embeddings of equal descriptions differ by rounding: their variance is below this fraction of their mean square
ROUNDING = 1e-10


@dataclass(frozen=True)
class SimilarReview:
    """A training review that is like a text.

    Attributes:
        text: the whole review, header and description.
        similarity: the cosine of the embeddings, -1 to 1.
        index: its row in the training split.
    """

    text: str
    similarity: float
    index: int


class SimilarityIndex:
    """The embeddings of a run's training reviews, and the model that made them.

    Attributes:
        model: normalizes its embeddings.
        embeddings: float32 of shape (reviews, dimensions), each of length 1.
        reviews: the training split.
        template: the form of its texts.
    """

    def __init__(
        self, model: "SentenceTransformer", embeddings: Embeddings, reviews: Dataset, template: ReviewTemplate
    ) -> None:
        self.model = model
        self.embeddings = embeddings
        self.reviews = reviews
        self.template = template

    def search(self, text: str, k: int = 5) -> list[SimilarReview]:
        """Return the k training reviews that are most like a text, the most similar first.

        Args:
            text: a description, or a whole review, whose header is left out. It is cut at the model's last position.
            k: how many, at most the number of training reviews.

        Raises:
            UserError: if the text has no known word, or k is out of range.
        """
        if not 1 <= k <= len(self.reviews):
            raise UserError(f"k: {k:,} is no number from 1 to {len(self.reviews):,}, the number of training reviews")
        description = self.template.running_text(text)
        require_known_word(self.model, description)
        similarities = self.embeddings @ encode(self.model, [description])[0]
        nearest = np.argsort(-similarities, kind="stable")[:k].tolist()
        texts = self.reviews[nearest][COMPOSED]
        return [
            SimilarReview(text, float(similarities[index]), index) for text, index in zip(texts, nearest, strict=True)
        ]


def find_similar(run: str | Path, text: str, k: int = 5, moved: ReviewsConfig | None = None) -> list[SimilarReview]:
    """Return the k training reviews of a run that are most like a text; see :meth:`SimilarityIndex.search`.

    Raises:
        UserError: as :func:`load_index` and :meth:`SimilarityIndex.search`.
    """
    if not text.strip():
        raise UserError("text: it is empty")
    require_characters("text", text)
    return load_index(run, moved).search(text, k)


def load_index(run: str | Path, moved: ReviewsConfig | None = None) -> SimilarityIndex:
    """Load the index in a run's folder ``similarity``, or make it if it is missing or of other weights or reviews.

    Args:
        run: the folder of a run of pretraining, or of a model that was fine-tuned for embeddings.
        moved: where the run's reviews are, if they were moved.

    Raises:
        UserError: if sentence-transformers is missing, the folder holds no run, its reviews can't be read or are not
            those that it was trained on, or the index can't be written.
    """
    require_package("sentence_transformers", "similarity", "an embedding")
    folder = Path(run)
    reviews, template = load_training_reviews(folder, moved)
    made_of = {"weights_sha256": sha256(folder / WEIGHTS), "data_fingerprint": reviews.fingerprint}
    train = reviews.splits["train"]
    saved = read_index(folder, made_of) or make_index(folder, train[template.text_field], made_of)
    return SimilarityIndex(*saved, train, template)


def read_index(folder: Path, made_of: JsonObject) -> tuple["SentenceTransformer", Embeddings] | None:
    """Return the saved model and embeddings; None if they are missing, damaged or of other weights or reviews."""
    saved = folder / SIMILARITY
    if not ((saved / INDEX).is_file() and (saved / SENTENCE_MODULES).is_file()):
        return None
    try:
        if read_json(saved / INDEX) != made_of:
            return None
        return load_sentence_model(saved), np.load(saved / TRAINING_EMBEDDINGS)
    # safetensors raises a bare Exception for a damaged file
    except Exception as error:
        logger.warning("made again, because it can't be read: %s: %s", saved, one_line(error))
        return None


def make_index(folder: Path, descriptions: list[str], made_of: JsonObject) -> tuple["SentenceTransformer", Embeddings]:
    """Embed the descriptions, and return the model and the embeddings, saved in the run's folder ``similarity``."""
    saved = folder / SIMILARITY
    require_writable(saved)
    (saved / INDEX).unlink(missing_ok=True)
    model = load_sentence_model(folder)
    embeddings = add_whitening(model, encode(model, descriptions))
    with writing(saved):
        with quiet_transformers():
            model.save_pretrained(str(saved), create_model_card=False)
        np.save(saved / TRAINING_EMBEDDINGS, embeddings)
        # last, because the index counts as complete with this file
        write_json(saved / INDEX, made_of)
    return model, embeddings


def load_training_reviews(folder: Path, moved: ReviewsConfig | None = None) -> tuple[Reviews, ReviewTemplate]:
    """Load the reviews that a run was trained on, from where they were moved.

    Raises:
        UserError: if the folder holds no run or a classifier, or the reviews can't be read or are others.
    """
    if not folder.is_dir():
        raise UserError(f"run: {describe_missing(str(folder))}: the reviews to compare with are those of a run")
    settings = data_settings(folder)
    if not settings or not (folder / WEIGHTS).is_file():
        missing = WEIGHTS if settings else CONFIG
        raise UserError(f"run: {folder} has no {missing}: name a finished run, whose training reviews are searched")
    metrics = read_json(folder / METRICS) if (folder / METRICS).is_file() else {}
    if is_classifier(metrics):
        base = f", {found}" if (found := base_of(folder)) else ""
        raise UserError(
            f"run: {folder} is a classifier, whose states tell labels apart: name its base{base}, "
            "or a model of finetune --task embed"
        )
    data = (moved or ReviewsConfig()).apply_to(build_config(PretrainConfig, settings).data)
    # a fine-tuned model records its base's reviews among its settings
    fingerprint = metrics.get("data_fingerprint") or metrics.get("settings", {}).get("data")
    return load_recorded_reviews(data, fingerprint, folder), ReviewTemplate.from_config(data)


def load_sentence_model(folder: Path) -> "SentenceTransformer":
    """Load a model of sentence-transformers, or make one of a GPT-2: the mean of its last hidden states."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    with quiet_transformers():
        if (folder / SENTENCE_MODULES).is_file():
            return SentenceTransformer(str(folder), local_files_only=True)
        transformer = Transformer(str(folder))
        pooling = Pooling(transformer.get_embedding_dimension(), "mean")
        return SentenceTransformer(modules=[transformer, pooling])


def add_whitening(model: "SentenceTransformer", embeddings: Embeddings) -> Embeddings:
    """Append whitening and normalization to the model, and return the embeddings whitened and normalized."""
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize

    weight, bias = whitening(embeddings)
    dense = Dense(
        len(bias), len(bias), activation_function=None, init_weight=torch.tensor(weight), init_bias=torch.tensor(bias)
    )
    model.append(dense.to(model.device))
    model.append(Normalize())
    whitened = embeddings @ weight.T + bias
    return np.asarray(whitened / np.linalg.norm(whitened, axis=1, keepdims=True), dtype=np.float32)


def whitening(embeddings: Embeddings) -> tuple[Embeddings, Embeddings]:
    """Return a weight and a bias that give embeddings mean 0 and about the unit covariance.

    Equal embeddings, or a single one, have no covariance: they are left as they are.

    Args:
        embeddings: float32 of shape (embeddings, dimensions).

    Returns:
        float32 of shape (dimensions, dimensions) and (dimensions,).
    """
    mean = embeddings.mean(0, dtype=np.float64)
    if np.square(embeddings - mean).mean() <= ROUNDING * np.square(mean).mean():
        return np.eye(len(mean), dtype=np.float32), np.zeros(len(mean), np.float32)
    variances, directions = np.linalg.eigh(np.cov(embeddings.T - mean[:, None]))
    weight = directions.T / np.sqrt(variances + SHRINKAGE * variances.mean())[:, None]
    return weight.astype(np.float32), (-weight @ mean).astype(np.float32)


def encode(model: "SentenceTransformer", texts: list[str]) -> Embeddings:
    """Return the texts' embeddings, float32 of shape (texts, dimensions)."""
    return np.asarray(model.encode(texts, batch_size=64, show_progress_bar=False), dtype=np.float32)


def require_known_word(model: "SentenceTransformer", text: str) -> None:
    """Check that an embedding is about something.

    Raises:
        UserError: if the model knows no word of the text.
    """
    tokenizer = model.tokenizer
    ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    if not set(ids) - {*tokenizer.all_special_ids}:
        raise UserError("text: it has no description" if not text else "text: it has no word that the model knows")
