"""What to publish, where, and how, and the checks that need neither the run nor the Hub."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import RepoCard
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from wine_gpt.config import SPACE_HARDWARE, SPACE_SDKS
from wine_gpt.errors import UserError
from wine_gpt.publishing.corpus import OwnCorpus
from wine_gpt.publishing.hub import MAIN, StagedRepo

# git's rules: neither HEAD, "..", "//", "/.", "@{" nor ".lock/", no space, control character or one of ~^:?*[\\
BRANCH_NAME = re.compile(
    r"(?![-./])(?!(?:@|HEAD)$)(?!.*(?:\.\.|//|/\.|@\{|\.lock(?:/|$)|[./]$))[^\s\x00-\x1f\x7f~^:?*\[\\]+"
)
HUB_ADDRESS = re.compile(
    r"(?:\w+://[^/]*|(?:www\.)?(?:huggingface\.co|hf\.co))(?:/|$)(?:(?:models|datasets|spaces)/)?"
)
# the Hub's limit, in characters
COLLECTION_TITLE_LENGTH = 60


@dataclass(frozen=True)
class Publication:
    """What to publish, where, and how; the fields are ``scripts/publish.py``'s arguments."""

    # folder of a finished run
    run: Path
    # org/name of the model's repository
    repo: str
    # folder of the models that scripts/finetune.py wrote
    adapters: Path | None = None
    # org/name of the demo's repository
    space: str | None = None
    # one of SPACE_SDKS
    space_sdk: str = "auto"
    # one of SPACE_HARDWARE for a new Gradio Space; None is the Hub's default, a CPU
    space_hardware: str | None = None
    private: bool = False
    # branch of the model repositories; the Hub runs a Space's main branch only
    revision: str = MAIN
    create_pr: bool = False
    # title of a collection
    collection: str | None = None
    # the Hub's license identifier; needed for the user's own corpus only
    license: str | None = None
    # name and address of a license that the Hub does not list; for the license "other"
    license_name: str | None = None
    license_link: str | None = None
    # language and name of the user's own corpus: "es", "Spanish recipes"
    language: str | None = None
    dataset_name: str | None = None
    # publish an ONNX file; None: keep the one that an earlier publish has uploaded
    onnx: bool | None = None
    # publish the index of training spans; None: for the bundled sample and Kaggle's reviews, which are public
    index: bool | None = None
    # publish the weights of each epoch, for the explorer; None: keep those that an earlier publish has uploaded
    epochs: bool | None = None

    def __post_init__(self) -> None:
        """Expand ``~`` in the paths, and check the names; an error names the wrong one."""
        for name in ("run", "adapters"):
            if path := getattr(self, name):
                object.__setattr__(self, name, Path(os.path.expanduser(path)))
        _require_names(self)

    @property
    def staged_sdks(self) -> tuple[str, ...]:
        """The kinds of Space to stage: both if the kind is not chosen yet."""
        return ("gradio", "static") if self.space_sdk == "auto" else (self.space_sdk,)

    @property
    def own_corpus(self) -> OwnCorpus:
        """What the arguments say of the user's own corpus."""
        return OwnCorpus(self.license, self.license_name, self.license_link, self.language, self.dataset_name)

    def staged_model(self, name: str, folder: Path, card: RepoCard, managed_files: tuple[str, ...]) -> StagedRepo:
        """Return a model's repository with the branch and the kind of commit that the arguments name."""
        return StagedRepo(name, "model", folder, card, managed_files, self.revision, self.create_pr)

    def staged_space(self, name: str, folder: Path, card: RepoCard, sdk: str) -> StagedRepo:
        """Return a Space, of which the Hub runs the main branch only."""
        hardware = self.space_hardware if sdk == "gradio" else None
        return StagedRepo(name, "space", folder, card, (), MAIN, self.create_pr, sdk, hardware)


def _require_names(publication: Publication) -> None:
    if publication.space_sdk not in SPACE_SDKS:
        raise UserError(f"--space_sdk: {publication.space_sdk!r} is none of {', '.join(SPACE_SDKS)}")
    if publication.space_hardware not in (None, *SPACE_HARDWARE):
        raise UserError(f"--space_hardware: {publication.space_hardware!r} is none of {', '.join(SPACE_HARDWARE)}")
    if publication.space_hardware and publication.space_sdk != "gradio":
        raise UserError("--space_hardware is of the Gradio app: add --space_sdk gradio")
    require_id("--repo", publication.repo)
    if publication.space is not None:
        require_id("--space", publication.space)
    if not BRANCH_NAME.fullmatch(publication.revision):
        raise UserError(
            f"--revision: {publication.revision!r} can't be the name of a branch: "
            "use letters, digits, '-' and '_', as in v2"
        )
    title = publication.collection
    if title is not None and not (title.strip() and len(title) <= COLLECTION_TITLE_LENGTH):
        raise UserError(f"--collection: a title has 1 to {COLLECTION_TITLE_LENGTH} characters, not {len(title)}")


def require_id(option: str, name: str) -> None:
    """Check a name for a repository on the Hub.

    Args:
        option: the option that names it, for messages.
        name: org/name.

    Raises:
        UserError: if the Hub would refuse the name, or it is an address.
    """
    if address := HUB_ADDRESS.match(name):
        named = "/".join(name[address.end() :].split("/")[:2])
        raise UserError(f"{option}: {name} is an address, not a name: {option} {named or 'org/wine-gpt'}")
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise UserError(f"{option}: {error}") from error
    if name.count("/") != 1:
        raise UserError(f"{option}: {name!r} must name an account and a repository: org/wine-gpt")
