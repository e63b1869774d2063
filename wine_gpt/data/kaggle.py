"""Download the class's dataset, the wine reviews on Kaggle."""

from pathlib import Path

from wine_gpt.errors import UserError, one_line
from wine_gpt.installation import require_package

# names the version, so that kagglehub finds an earlier download without a request to Kaggle
KAGGLE_HANDLE = "zynicide/wine-reviews/versions/4"
KAGGLE_PAGE = "https://www.kaggle.com/datasets/zynicide/wine-reviews"
KAGGLE_FILES = ("winemag-data-130k-v2.json", "winemag-data-130k-v2.csv")


def download_from_kaggle() -> Path:
    """Download the JSON file of the class's dataset with kagglehub, or find it in kagglehub's cache.

    Raises:
        UserError: if kagglehub is not installed, or Kaggle can't be reached or refuses.
    """
    require_package("kagglehub", "kaggle", "data.path kaggle")
    import kagglehub
    from kagglehub.exceptions import DataCorruptionError

    by_hand = f"or download the zip at {KAGGLE_PAGE} and give its path as data.path"
    try:
        return Path(kagglehub.dataset_download(KAGGLE_HANDLE, path=KAGGLE_FILES[0]))
    except (OSError, ValueError, DataCorruptionError) as error:
        # the errors of requests, also of a refusal, are OSErrors, and kagglehub words a refusal for the user
        raise UserError(f"kaggle: the download failed: {one_line(error)}; try again, {by_hand}") from error
