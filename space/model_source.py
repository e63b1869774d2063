"""Choose the model and its adapters: from the environment, settings.json, or the quickstart's run."""

import dataclasses
import html
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from huggingface_hub import ModelCard, hf_hub_download, try_to_load_from_cache

from i18n import UserFacingError

HERE = Path(__file__).parent
SETTINGS = "settings.json"
MODEL_CONFIG = "config.json"


@dataclass(frozen=True)
class ModelSource:
    """A folder, or a repository on the Hub at a revision, with a model or an adapter.

    Attributes:
        name: the folder's path or the repository's id.
        revision: branch, tag or commit; None for a folder.
        commit: what the revision is pinned to; None for a folder, and before :meth:`pinned`.
    """

    name: str
    revision: str | None = None
    commit: str | None = None

    @classmethod
    def parse(cls, text: str, revision: str = "main") -> "ModelSource":
        """Parse a folder's path, ``org/name@revision``, or ``org/name``, which gets ``revision``."""
        # no Hub id begins with these characters
        if Path(text).is_dir() or text.startswith(("/", ".")):
            return cls(text)
        name, _, own = text.partition("@")
        return cls(name, own or revision)

    def __str__(self) -> str:
        if self.revision is None:
            return self.short_name
        return f"{self.name} (revision {self.revision})"

    @property
    def version(self) -> str | None:
        """The commit, or the revision before it is pinned; None for a folder."""
        return self.commit or self.revision

    def pinned(self) -> "ModelSource":
        """Return the source at the commit of its revision now, so that files that are read later are of that version.

        A model that can't be reached is returned as it is.
        """
        if self.revision is None:
            return self
        try:
            config = hf_hub_download(self.name, MODEL_CONFIG, revision=self.revision)
        # huggingface_hub's errors share no class, and loading the model says what is wrong
        except Exception:
            return self
        # the cache has a folder for each commit, also without the Hub
        return dataclasses.replace(self, commit=Path(config).parent.name)

    @property
    def short_name(self) -> str:
        """The name of the folder or repository, without its parents or organization."""
        # abspath, because the folder may be "."
        return Path(os.path.abspath(self.name)).name if self.revision is None else Path(self.name).name

    @property
    def markdown(self) -> str:
        """The name in Markdown, with a link to the Hub unless it is a folder's."""
        if self.revision is None:
            return html.escape(self.short_name)
        return f"[{self}](https://huggingface.co/{self.name}/tree/{quote(self.revision)})"

    def file(self, name: str) -> Path | None:
        """Return the path of a file, downloaded if necessary; None if the file does not exist.

        Raises:
            OSError: if the Hub can't be reached.
        """
        if self.revision is None:
            path = Path(self.name, name)
            return path if path.is_file() else None
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        # also which files the commit lacks, for which the Hub would be asked each time
        known = try_to_load_from_cache(self.name, name, revision=self.commit) if self.commit else None
        if known is not None:
            return Path(known) if isinstance(known, str) else None
        try:
            return Path(hf_hub_download(self.name, name, revision=self.version))
        except LocalEntryNotFoundError:
            raise
        except EntryNotFoundError:
            return None


def choose_model(environment: Mapping[str, str] = os.environ, here: Path = HERE) -> ModelSource:
    """Return the model of WINE_GPT_MODEL, otherwise of ``settings.json``, otherwise the quickstart's run.

    Args:
        environment: the environment variables.
        here: the demo's folder.

    Raises:
        UserFacingError: if there is no model.
    """
    if named := environment.get("WINE_GPT_MODEL", "").strip():
        return ModelSource.parse(named)
    settings = here / SETTINGS
    if settings.is_file():
        try:
            return ModelSource.parse(json.loads(settings.read_text(encoding="utf-8"))["model"])
        except (ValueError, KeyError, TypeError) as error:
            raise UserFacingError("problem_settings", file=SETTINGS, example='{"model": "org/name"}') from error
    quickstart = here.parent / "runs" / "sample"
    if (quickstart / MODEL_CONFIG).is_file():
        return ModelSource.parse(str(quickstart))
    raise UserFacingError("problem_none")


def choose_adapters(model: ModelSource, environment: Mapping[str, str] = os.environ) -> list[ModelSource]:
    """Return the adapters that WINE_GPT_ADAPTERS names, otherwise those that the model's card lists.

    The card's adapters get the model's revision, because those of another revision may not fit the weights.
    """
    named = environment.get("WINE_GPT_ADAPTERS")
    if named is not None:
        return [ModelSource.parse(part.strip()) for part in named.split(",") if part.strip()]
    card = model.file("README.md")
    listed = ModelCard.load(card).data.to_dict().get("adapters") if card else None
    revision = model.revision or "main"
    return [ModelSource.parse(entry, revision) for entry in listed or [] if isinstance(entry, str)]
