"""The address of the project's source code, to which the cards link."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

from wine_gpt.errors import UserError

# of a checkout; an installed wheel has the same address in its metadata
PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
LABEL = "Repository"
PLACEHOLDER = re.compile(r"[<>{}\s…]|\b(OWNER|ORG|USER|USERNAME|NAME|YOUR[\w-]*|example\.(com|org))\b")


def source_url() -> str | None:
    """Return ``Repository`` in ``[project.urls]`` of pyproject.toml; None without one.

    Raises:
        UserError: if it is a placeholder or no https address.
    """
    if PYPROJECT.is_file():
        project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
        url: str | None = project.get("urls", {}).get(LABEL)
    else:
        url = _installed_url()
    if url and (PLACEHOLDER.search(url) or not re.match(r"https://[\w.-]+/\S", url)):
        raise UserError(f"pyproject.toml: project.urls.{LABEL} is {url!r}: write the https address of the source code")
    return url


def _installed_url() -> str | None:
    try:
        urls = importlib.metadata.metadata("wine_gpt").get_all("Project-URL", [])
    except importlib.metadata.PackageNotFoundError:
        return None
    return next((url.partition(", ")[2] for url in urls if url.startswith(f"{LABEL}, ")), None)
