"""Which model the page shows, and which adapters."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import ModelCard, hf_hub_download

from texts import Problem

HERE = Path(__file__).parent
SETTINGS = "settings.json"


@dataclass(frozen=True)
class Source:
    """Where a model or an adapter comes from: a folder, or a repository on the Hub at a revision.

    Attributes:
        name: the folder's path or the repository's id.
        revision: branch, tag or commit; none for a folder.
    """

    name: str
    revision: str | None = None

    @classmethod
    def parse(cls, text: str, revision: str = "main") -> "Source":
        """Read a folder's path, ``org/name``, which stands for that revision, or ``org/name@revision``."""
        # no repository begins as a path does
        if Path(text).is_dir() or text.startswith(("/", ".")):
            return cls(text)
        name, _, own = text.partition("@")
        return cls(name, own or revision)

    def __str__(self) -> str:
        if self.revision is None:
            return Path(self.name).name
        return f"{self.name} (revision {self.revision})"

    def file(self, name: str) -> Path | None:
        """Return a file of it, downloaded if need be; none if it has no such file.

        Raises:
            OSError: if the Hub can't be reached.
        """
        if self.revision is None:
            path = Path(self.name, name)
            return path if path.is_file() else None
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        try:
            return Path(hf_hub_download(self.name, name, revision=self.revision))
        except LocalEntryNotFoundError:
            raise
        except EntryNotFoundError:
            return None


def choose_model(environment: Mapping[str, str] = os.environ, here: Path = HERE) -> Source:
    """Return WINE_GPT_MODEL, else what ``settings.json`` next to this file names, else the quickstart's run.

    Raises:
        Problem: if there is none.
    """
    if named := environment.get("WINE_GPT_MODEL", "").strip():
        return Source.parse(named)
    settings = here / SETTINGS
    if settings.is_file():
        try:
            return Source.parse(json.loads(settings.read_text(encoding="utf-8"))["model"])
        except (ValueError, KeyError, TypeError) as error:
            raise Problem("problem_settings", file=SETTINGS, example='{"model": "org/name"}') from error
    quickstart = here.parent / "runs" / "sample"
    if (quickstart / "config.json").is_file():
        return Source.parse(str(quickstart))
    raise Problem("problem_none")


def choose_adapters(model: Source, environment: Mapping[str, str] = os.environ) -> list[Source]:
    """Return those of WINE_GPT_ADAPTERS, else those that the model's card lists.

    The card's are taken at the model's own revision: at another one, they may have been made for other weights.
    """
    named = environment.get("WINE_GPT_ADAPTERS")
    if named is not None:
        return [Source.parse(part.strip()) for part in named.split(",") if part.strip()]
    card = model.file("README.md")
    listed = ModelCard.load(card).data.to_dict().get("adapters") if card else None
    revision = model.revision or "main"
    return [Source.parse(entry, revision) for entry in listed or [] if isinstance(entry, str)]
