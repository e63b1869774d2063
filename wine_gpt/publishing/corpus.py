"""The corpus that a model was trained on: its name, creator, license and dataset id, as a card shows them."""

import dataclasses
import re
import unicodedata
import zipfile
from dataclasses import dataclass
from pathlib import Path

from wine_gpt.data.kaggle import KAGGLE_PAGE
from wine_gpt.data.reviews import texts
from wine_gpt.errors import UserError
from wine_gpt.files import path_parts
from wine_gpt.publishing.data_source import DataSource
from wine_gpt.publishing.kaggle_texts import has_kaggle_texts
from wine_gpt.publishing.licenses import License


@dataclass(frozen=True)
class Corpus:
    """The texts that a model was trained on.

    Attributes:
        name: the title that the card shows.
        license: of the texts, and so of the model.
        page: address of the dataset's page.
        creator: whom to credit.
        made_from: what the creator made the dataset from.
        dataset: id of a dataset on the Hub, in the card's metadata.
        config: configuration of the dataset on the Hub.
        languages: ISO 639 codes.
        wine: whether the texts are wine reviews.
        synthetic: whether a grammar generated the texts.
    """

    name: str
    license: License
    page: str | None = None
    creator: str | None = None
    made_from: str | None = None
    dataset: str | None = None
    config: str | None = None
    languages: tuple[str, ...] = ()
    wine: bool = False
    synthetic: bool = False

    @property
    def is_public(self) -> bool:
        """Whether everybody can read the texts: those of the sample and Kaggle's reviews."""
        return self in (SAMPLE, KAGGLE)

    @property
    def dataset_type(self) -> str:
        """The dataset's id in the model index: its id on the Hub, or its name in a-z, 0-9 and hyphens."""
        plain = unicodedata.normalize("NFKD", Path(self.name).stem.lower()).encode("ascii", "ignore").decode()
        return self.dataset or re.sub(r"[^a-z0-9]+", "-", plain).strip("-") or "own-corpus"

    @property
    def conditions(self) -> str:
        """What the license asks for, in words."""
        return self.license.conditions(self.creator or "the creator of the training texts")


KAGGLE = Corpus(
    "Wine Reviews",
    License.of("cc-by-nc-sa-4.0"),
    KAGGLE_PAGE,
    "Zack Thoutt",
    "from reviews in the magazine Wine Enthusiast",
    languages=("en",),
    wine=True,
)
SAMPLE = Corpus("synthetic wine reviews", License.of("apache-2.0"), languages=("en",), wine=True, synthetic=True)


@dataclass(frozen=True)
class OwnCorpus:
    """What the publisher says of a corpus of their own; the fields are ``scripts/publish.py``'s options.

    Attributes:
        license: the Hub's license identifier.
        license_name, license_link: name and address of a license that the Hub does not list.
        language: ISO 639 codes, separated by commas.
        dataset_name: the corpus in words, such as "Spanish recipes".
    """

    license: str | None = None
    license_name: str | None = None
    license_link: str | None = None
    language: str | None = None
    dataset_name: str | None = None


NOTHING_SAID = OwnCorpus()


def corpus_of(source: DataSource, own: OwnCorpus = NOTHING_SAID) -> Corpus:
    """Return the corpus that a run was trained on.

    Raises:
        UserError: if its license is unknown, or ``own`` contradicts what is known.
    """
    known, data = _known_corpus(source), source.settings
    if known:
        if own.license not in (None, known.license.id):
            raise UserError(f"--license {own.license}: a model trained on {known.name} is under {known.license.id}")
        for option, value in dataclasses.asdict(own).items():
            if option != "license" and value is not None:
                raise UserError(f"--{option} is for your own corpus, and the model was trained on {known.name}")
        return known
    if not own.license:
        raise UserError(
            f"data.path {data.path}: under which license may a model trained on it be published? "
            "--license mit, cc-by-4.0 …; ask the texts' owner, or use --license unknown, which lets nobody reuse the "
            "model"
        )
    dataset = data.path if source.is_hub_dataset else None
    return Corpus(
        (own.dataset_name or "").strip() or source.published_path,
        License.of(own.license, own.license_name, own.license_link),
        page=f"https://huggingface.co/datasets/{dataset}" if dataset else None,
        dataset=dataset,
        config=data.name,
        languages=_languages(own.language),
    )


def _known_corpus(source: DataSource) -> Corpus | None:
    if source.settings.path == "sample":
        return SAMPLE
    return KAGGLE if source.settings.path == "kaggle" or _is_kaggle(source) else None


def _languages(codes: str | None) -> tuple[str, ...]:
    languages = tuple(dict.fromkeys(code.strip() for code in (codes or "").split(",") if code.strip()))
    for code in languages:
        if not re.fullmatch(r"[a-z]{2,3}|multilingual|code", code):
            raise UserError(f"--language {code}: is no ISO 639 code such as es or zh; separate several by commas")
    return languages


def _is_kaggle(source: DataSource) -> bool:
    """Recognize Kaggle's wine reviews by their texts, or by the names of files that can no longer be read."""
    if source.is_hub_dataset:
        return False
    try:
        splits = source.load().splits
    except UserError:
        return _is_called_like_kaggle(Path(source.settings.path).expanduser())
    return any(has_kaggle_texts(texts(split)) for split in splits.values())


def _is_called_like_kaggle(path: Path) -> bool:
    names = path_parts(str(path))[-1:]
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names += [Path(name).name for name in archive.namelist()]
    return any(re.match(r"winemag-data", name) for name in names)
