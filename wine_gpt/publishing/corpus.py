"""The corpus that a model was trained on: its name, license and dataset id, as a card shows them."""

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

from wine_gpt.config import DataConfig
from wine_gpt.data.kaggle import KAGGLE_FILES, KAGGLE_HANDLE, KAGGLE_PAGE
from wine_gpt.data.sources import is_hub_dataset
from wine_gpt.errors import UserError


@dataclass(frozen=True)
class Corpus:
    """The texts that a model was trained on.

    Attributes:
        name: the title that the card shows.
        license: the Hub's license identifier.
        page: address of the dataset's page.
        dataset: the id in the card's metadata.
        wine: whether the texts are wine reviews.
        synthetic: whether a grammar generated the texts.
    """

    name: str
    license: str
    page: str | None = None
    dataset: str | None = None
    wine: bool = False
    synthetic: bool = False


KAGGLE = Corpus("Wine Reviews", "cc-by-nc-sa-4.0", KAGGLE_PAGE, "zynicide/wine-reviews", wine=True)
SAMPLE = Corpus("the sample that wine_gpt bundles", "apache-2.0", wine=True, synthetic=True)


def corpus_of(data: DataConfig, license: str | None) -> Corpus:
    """Return the corpus that a run's config names.

    Raises:
        UserError: if its license is unknown, or differs from ``license``.
    """
    if data.path == "sample":
        known = SAMPLE
    elif data.path == "kaggle" or _is_kaggle(Path(data.path).expanduser()):
        known = KAGGLE
    elif license:
        name = published_path(data.path)
        return Corpus(name, license, dataset=name if is_hub_dataset(data.path) else None)
    else:
        raise UserError(
            f"data.path {data.path}: under which license may a model trained on it be published? "
            "--license mit, cc-by-4.0 …"
        )
    if license not in (None, known.license):
        raise UserError(f"--license {license}: {known.name} and a model trained on it are under {known.license}")
    return known


def published_path(path: str) -> str:
    """Return a data source without the folders of the local machine."""
    return path if path in ("sample", "kaggle") or is_hub_dataset(path) else Path(path).name


def is_kaggle_cached() -> bool:
    """Return whether Kaggle's reviews can be read without a request."""
    try:
        from kagglehub.cache import Cache
        from kagglehub.handle import parse_dataset_handle
    except ImportError:
        return False
    return Cache().load_from_cache(parse_dataset_handle(KAGGLE_HANDLE), KAGGLE_FILES[0]) is not None


def _is_kaggle(path: Path) -> bool:
    """Recognize Kaggle's wine reviews by the names of the file or of the files in the zip."""
    names = [path.name]
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names += [Path(name).name for name in archive.namelist()]
    return any(re.match(r"winemag-data", name) for name in names)
