"""Refuse to publish files that contain access tokens, local paths, or the local user or host name."""

import getpass
import json
import os
import re
import socket
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from huggingface_hub import get_token
from PIL import Image

from wine_gpt.errors import UserError
from wine_gpt.publishing.data_source import DataSource
from wine_gpt.publishing.hub import StagedRepo
from wine_gpt.publishing.published_files import CARD, LICENSE, NOTEBOOK, PUBLISHED_FINETUNE_CONFIG, SPACE_SETTINGS
from wine_gpt.run_folder import CONFIG, FINETUNE_CONFIG, METRICS

HUB_TOKEN = "an access token of the Hub"
BINARY = (".onnx", ".png", ".safetensors")
# a shorter name before or after an @ may occur in a model's weights by chance
SHORTEST_BINARY_NAME = 4
NAME_END = rb"(?![\w-])"
# environment variables whose values are secret, and values that are no ordinary word or number, no path and no address
SECRET_VARIABLE = re.compile(r"(?i).*(TOKEN|KEY|SECRET|PASSWORD)")
SECRET_VALUE = re.compile(r"(?![/~.]|[A-Za-z][A-Za-z+.-]*:[/\\])\S{16,}")
# what the files are made from that are no copies
SOURCES = {
    CARD: "the options, the run's config.yaml and metrics.json, and texts that the model wrote",
    CONFIG: "the run's config.yaml",
    LICENSE: "the options and data.path in the run's config.yaml",
    METRICS: "the run's metrics.json",
    NOTEBOOK: "the options and a text that the model wrote",
    PUBLISHED_FINETUNE_CONFIG: f"the model's {FINETUNE_CONFIG}",
    SPACE_SETTINGS: "the options",
}


@dataclass(frozen=True)
class Leak:
    """What must not be published.

    Attributes:
        kind: for messages.
        literal: bytes that each match has; searched for first, because that is many times faster than the pattern.
        pattern: regular expression.
        start, end: what text files must have around a match. Binary files may have any bytes there.
        in_binary: whether binary files are searched.
    """

    kind: str
    literal: bytes
    pattern: bytes
    start: bytes = b""
    end: bytes = b""
    in_binary: bool = True

    def is_in(self, content: bytes, is_binary: bool) -> bool:
        """Return whether the content has a match."""
        if self.literal not in content or (is_binary and not self.in_binary):
            return False
        pattern = self.pattern if is_binary else self.start + self.pattern + self.end
        return re.search(pattern, content) is not None


TOKENS = (
    Leak(HUB_TOKEN, b"hf_", rb"hf_(?:[A-Za-z0-9]{20,}|(?:oauth|jwt)_[\w.-]{20,})"),
    Leak(HUB_TOKEN, b"api_org_", rb"api_org_[A-Za-z0-9]{20,}"),
    Leak("a GitHub token", b"gh", rb"gh[opsur]_[A-Za-z0-9]{36}", start=rb"(?<!\w)"),
    Leak("a GitHub token", b"github_pat_", rb"github_pat_\w{22,}"),
    Leak("a GitLab token", b"glpat-", rb"glpat-[\w-]{20,}"),
    Leak("an AWS access key", b"IA", rb"A[KS]IA[A-Z0-9]{16}", start=rb"(?<!\w)"),
    Leak("a Google API key", b"AIza", rb"AIza[\w-]{35}"),
    Leak("a Slack token", b"xox", rb"xox[abeoprs]-[\w-]{10,}"),
    Leak("an API key", b"sk-", rb"sk-(?:[a-z0-9]{1,10}-)*\w{20,}", start=rb"(?<![\w-])"),
    Leak("a Kaggle API key", b"KGAT_", rb"KGAT_[0-9a-f]{32}"),
    Leak("a Kaggle API key", b"key", rb"key\\*[\"']\s*:\s*\\*[\"'][0-9a-f]{32}\\*[\"']"),
    Leak("a PyPI token", b"pypi-", rb"pypi-AgE[\w-]{50,}"),
    Leak("an npm token", b"npm_", rb"npm_[A-Za-z0-9]{36}", start=rb"(?<!\w)"),
    Leak("a Weights & Biases key", b"wandb_v1_", rb"wandb_v1_\w{20,}"),
    Leak("a JSON Web Token", b"eyJ", rb"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}", start=rb"(?<![\w-])"),
    Leak("a password in an address", b"://", rb"\b[a-z][a-z+]{1,9}://[^\s/:@\"'<>]*:[^\s/:@\"'<>]{3,}@[\w-]"),
    Leak("a private key", b"PRIVATE KEY", rb"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
)


def require_no_leak(repositories: Iterable[StagedRepo], run: Path, data: DataSource) -> None:
    """Check the bytes of each staged file, and the text of PNG files.

    Args:
        repositories: the staged repositories.
        run: the folder of the published model.
        data: what it was trained on.

    Raises:
        UserError: if one has an access token, a local path, or the local user or host name as part of a path or of
            ``user@host``. The message names the file and the kind, not the secret.
    """
    leaks = [*_token_leaks(), *_path_leaks(run, data), *_name_leaks()]
    for repo in repositories:
        for name, path in repo.files().items():
            for content, is_binary in _contents(path):
                if found := next((leak for leak in leaks if leak.is_in(content, is_binary)), None):
                    source = SOURCES.get(name, f"the file of which {name} is a copy")
                    raise UserError(
                        f"{repo.title}: {name} contains {found.kind}; nothing was published: remove it from {source}"
                    )


def _contents(path: Path) -> Iterator[tuple[bytes, bool]]:
    """Yield the file's bytes, and texts that a picture may hold compressed, each with whether it is binary."""
    yield path.read_bytes(), path.suffix in BINARY
    if path.suffix == ".png":
        # a damaged picture has no more texts to find
        with suppress(OSError, SyntaxError), Image.open(path) as image:
            texts = image.info
            # texts after the pixels are read with these
            with suppress(OSError, SyntaxError):
                image.load()
            for text in texts.values():
                yield str(text).encode(), False


def _token_leaks() -> Iterator[Leak]:
    yield from TOKENS
    if token := get_token():
        yield Leak(HUB_TOKEN, token.encode(), re.escape(token.encode()))
    for name, value in os.environ.items():
        if SECRET_VARIABLE.fullmatch(name) and SECRET_VALUE.fullmatch(value):
            yield Leak(f"the value of the environment variable {name}", value.encode(), re.escape(value.encode()))


def _path_leaks(run: Path, data: DataSource) -> Iterator[Leak]:
    folders = {
        "the path of the run's folder": run,
        "the path of the working folder": Path.cwd(),
        "the path of your home folder": Path.home(),
    }
    if data.is_local:
        folders["the path of the training data"] = Path(data.settings.path).expanduser()
    for kind, folder in folders.items():
        for path in {folder.absolute(), folder.resolve()} - {Path(folder.anchor or "/")}:
            # a path of one component, such as /data, says nothing unless another component follows
            is_short = len(path.parts) == 2
            for spelling in _spellings(str(path)):
                pattern = re.escape(spelling) + (rb"[/\\]+\w" if is_short else b"")
                yield Leak(kind, spelling, pattern, rb"(?<![\w.-])", b"" if is_short else NAME_END)


def _name_leaks() -> Iterator[Leak]:
    """Yield the user and host name in paths and in ``user@host``; elsewhere they may be ordinary words."""
    host = socket.gethostname().split(".")[0]
    for name in _spellings(host) if host != "localhost" else ():
        escaped, in_binary = re.escape(name), len(name) >= SHORTEST_BINARY_NAME
        yield Leak("the host name", b"@" + name, rb"\w@" + escaped, b"", NAME_END, in_binary)
        yield Leak("the host name", name, rb"[/\\]{2}" + escaped + rb"[/\\:]", in_binary=in_binary)
        yield Leak("the host name", name, _component(escaped))
    for name in _spellings(_user()):
        escaped, in_binary = re.escape(name), len(name) >= SHORTEST_BINARY_NAME
        # an e-mail address has a domain with a dot
        at_host, end = escaped + rb"@[A-Za-z0-9][\w-]*(?:\.local)?", rb"(?![\w.-])"
        yield Leak("the user name", name + b"@", at_host, rb"(?<![\w.-])", end, in_binary)
        home = rb"[/\\](?:home|[Uu]sers)[/\\]+" + escaped
        yield Leak("the user name", name, home, b"", NAME_END)
        yield Leak("the user name", name, _component(escaped))


def _component(name: bytes) -> bytes:
    """Return a pattern of an absolute path, not of an address, with the name as an inner component."""
    return rb"(?<![\w.:/\\])/(?:[\w.-]+/)+" + name + rb"/\w"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # a container's user may have no name
        return Path.home().name


def _spellings(text: str) -> list[bytes]:
    """Return the text as bytes, as it stands in text files, JSON and addresses."""
    forms = {unicodedata.normalize(form, text) for form in ("NFC", "NFD")} | {text}
    escaped = {json.dumps(form, ensure_ascii=ascii_only)[1:-1] for form in forms for ascii_only in (False, True)}
    quoted = {quote(form, safe="/:\\") for form in forms}
    return [spelling.encode() for spelling in sorted(forms | escaped | quoted) if spelling]
