"""What a run was trained on: the sample, Kaggle's reviews, a dataset of the Hub, or files of the machine."""

import os
from dataclasses import dataclass

from wine_gpt.config import DataConfig
from wine_gpt.data.kaggle import KAGGLE_FILES, KAGGLE_HANDLE
from wine_gpt.data.report import DataReport
from wine_gpt.data.reviews import Reviews, load_reviews
from wine_gpt.data.sources import is_hub_dataset
from wine_gpt.errors import UserError
from wine_gpt.files import path_parts

# values of data.path that name the same data on every machine
PUBLIC = ("sample", "kaggle")


@dataclass(frozen=True)
class DataSource:
    """What ``data.path`` named when a run was trained, because it may name something else in today's working folder.

    Attributes:
        settings: the run's data settings.
        report: the run's data report, which records the source's kind and name; if it is missing,
            ``data.path`` is looked up on this machine now.
    """

    settings: DataConfig
    report: DataReport | None = None

    @property
    def is_hub_dataset(self) -> bool:
        """Whether the texts came from a dataset of the Hub."""
        return self.report.from_hub if self.report else is_hub_dataset(self.settings.path)

    @property
    def is_local(self) -> bool:
        """Whether the texts came from a file or folder of the machine that trained the run."""
        return self.settings.path not in PUBLIC and not self.is_hub_dataset

    @property
    def published_path(self) -> str:
        """The path without the folders of the machine that trained the run."""
        path = self.settings.path
        if not self.is_local:
            return path
        if self.report:
            path = self.report.source
        # the absolute path, because a folder such as . has no name
        return path_parts(os.path.abspath(os.path.expanduser(path)))[-1]

    def load(self) -> Reviews:
        """Read the reviews again, without a request to the Hub or to Kaggle.

        Raises:
            UserError: if that needs a request, or they can't be read.
        """
        if self.is_hub_dataset:
            raise UserError(f"{self.settings.path} is a dataset of the Hub")
        if is_hub_dataset(self.settings.path):
            raise UserError(f"data.path: no such file: {self.settings.path}")
        if self.settings.path == "kaggle" and not is_kaggle_cached():
            raise UserError("Kaggle's reviews are not in kagglehub's cache")
        return load_reviews(self.settings)


def is_kaggle_cached() -> bool:
    """Return whether Kaggle's reviews can be read without a request."""
    try:
        from kagglehub.cache import Cache
        from kagglehub.handle import parse_dataset_handle
    except ImportError:
        return False
    return Cache().load_from_cache(parse_dataset_handle(KAGGLE_HANDLE), KAGGLE_FILES[0]) is not None
