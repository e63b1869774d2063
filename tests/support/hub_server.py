"""A server on loopback that answers as the Hugging Face Hub does; clients find it through ``HF_ENDPOINT``.

It answers the requests that huggingface_hub 2 makes to publish and to load: whoami, validate-yaml, creating
repositories and branches, repository information, write checks, trees, preupload, Git LFS (batch, upload, verify),
commits as NDJSON with the parent checked, pull requests, resolve with HEAD and ranges, and collections. Objects are
content-addressed as in git: blobs have git's ids, a commit's id is a hash of its tree, parent and title, and a branch
is a name for a commit. Any request can be made to fail; see :class:`Fault`.

Large files are uploaded and downloaded with Xet (``xet_store.py``), or with Git LFS by clients without it.

It lacks LFS uploads in parts, redirects to a CDN, paginated listings, git itself (trees are flat, so their ids are not
git's), rate limits, merging or closing pull requests, building Spaces, and search. Of validate-yaml's rules it checks
license, identifiers, lengths, SDK and the shape of model-index, but not whether a dataset or model exists.
"""

import hashlib
import json
import re
import select
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

import yaml

from support.local_server import PATIENCE, serving
from support.xet_store import XetStore

# tokens, which may appear in Authorization headers only
WRITER, READER, OUTSIDER, SCOPED, UNSCOPED = (
    f"hf_canary{name}0123456789" for name in ("Writer", "Reader", "Outsider", "Scoped", "Unscoped")
)
ORGANIZATION = "org"
XET_PATH = re.compile(r"/(v1|v2)/|/xorbs/|/api/.+/xet-(read|write)-token/")
USER = "somebody"
DATE = "2026-01-01T00:00:00.000Z"
# as in the Hub's .gitattributes; binary files are stored by LFS too
LFS_SUFFIXES = (".safetensors", ".onnx", ".bin", ".png")
LICENSES = ("apache-2.0", "mit", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc0-1.0", "other")
COLORS = ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")
RELATIONS = ("adapter", "finetune", "merge", "quantized")
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


@dataclass(frozen=True)
class Fault:
    """How a request fails.

    ``drop`` closes the connection without an answer, ``hang`` sends nothing until the client closes the connection,
    ``refuse`` answers with a status, ``json`` with status 200 and another ``content``, and ``page`` with HTML. With
    ``lost`` the server does what was asked, and only the answer is lost.
    """

    kind: str
    status: int = 0
    lost: bool = False
    content: Any = None

    def __str__(self) -> str:
        name = str(self.status) if self.kind == "refuse" else self.kind
        return f"{name}, done" if self.lost else name


@dataclass(frozen=True)
class File:
    """A file in a tree: its bytes, or its LFS pointer with the object's SHA-256 and size."""

    content: bytes
    lfs: str | None = None
    size: int = 0

    @property
    def blob(self) -> str:
        """Git's id of the file, or of the pointer to it."""
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()


@dataclass(frozen=True)
class Commit:
    """A commit; the first has an empty string as parent."""

    tree: dict[str, File]
    parent: str
    title: str

    @property
    def oid(self) -> str:
        """The id: a hash of the title, the parent, and each file's path and id."""
        listing = [f"{path} {file.blob}" for path, file in sorted(self.tree.items())]
        return hashlib.sha1("\n".join([self.title, self.parent, *listing]).encode()).hexdigest()


@dataclass
class Repository:
    """Commits by id, and refs: names of commits."""

    kind: str
    name: str
    private: bool = False
    sdk: str | None = None
    commits: dict[str, Commit] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    pull_requests: list[dict[str, Any]] = field(default_factory=list)

    def add(self, commit: Commit, ref: str = "main") -> str:
        """Store a commit and move the ref to it."""
        self.commits[commit.oid] = commit
        self.refs[ref] = commit.oid
        return commit.oid

    def find(self, revision: str) -> Commit:
        """Return the commit of a ref or id."""
        oid = self.refs.get(revision, revision)
        if oid not in self.commits:
            raise Refusal(404, f"Invalid rev id: {revision}", code="RevisionNotFound")
        return self.commits[oid]

    def history(self, ref: str = "main") -> list[str]:
        """Return the ids of a ref's commits, newest first."""
        oids = []
        oid = self.refs[ref]
        while oid:
            oids.append(oid)
            oid = self.commits[oid].parent
        return oids

    def files(self, ref: str = "main") -> dict[str, str]:
        """Return path to content, or ``sha256:…`` for LFS, of all files except the Hub's own .gitattributes."""
        tree = self.find(ref).tree
        return {
            path: f"sha256:{file.lfs}" if file.lfs else file.content.decode()
            for path, file in tree.items()
            if path != ".gitattributes"
        }


@dataclass(frozen=True)
class Request:
    """A request as received; the Authorization header's token is in a separate field."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    token: str | None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def json(self) -> Any:  # noqa: ANN401
        """Return the body's content."""
        return json.loads(self.body)


class Refusal(Exception):
    """An error status and its message."""

    def __init__(self, status: int, message: str, code: str | None = None, **more: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
        self.content = {"error": message, **more}


class Moved(Refusal):
    """A redirect to a repository's current name."""

    def __init__(self, request: Request, old: str, new: str) -> None:
        super().__init__(307, "Temporary Redirect")
        query = f"?{urlencode(request.query)}" if request.query else ""
        self.headers = {"Location": quote(request.path.replace(old, new)) + query}


@dataclass
class Answer:
    """A route's answer: bytes, or a value to send as JSON."""

    content: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class HubServer(ThreadingHTTPServer):
    """Keeps all repositories in memory.

    ``requests`` lists the requests since the last :meth:`forget`; ``fault`` takes a request's number in that list and
    the request, and returns how it fails; ``before`` runs before a request is answered; ``retry_after`` is the header
    sent with status 429 and 503, in seconds, and ``rate_limit`` is the header RateLimit of status 429. Requests of
    hf_xet, which sends several at once, are in ``xet_requests`` instead and fail as ``xet_fault`` says.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = Lock()
        # never emptied, because clients remember what they have uploaded
        self.xet = XetStore()
        self.forget()

    def forget(self) -> None:
        """Empty the Hub."""
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.collections: dict[str, dict[str, Any]] = {}
        self.requests: list[Request] = []
        self.xet_requests: list[Request] = []
        self.xet_fault: Callable[[Request], Fault | None] = lambda request: None
        # old name to new
        self.renamed: dict[str, str] = {}
        # names of repositories whose files only their owners may read, while anybody may list them
        self.gated: set[str] = set()
        # whether accounts have a paid plan, without which the Hub creates no Gradio Space but on ZeroGPU
        self.paid_plan = True
        # whether a repository is private whose creator does not say
        self.private_by_default = False
        # Space to the names of its secrets
        self.secrets: dict[str, list[str]] = {}
        self.retry_after: int | None = None
        self.rate_limit: str | None = None
        self.before: Callable[[Request], None] = lambda request: None
        self.fault: Callable[[int, Request], Fault | None] = lambda number, request: None

    @property
    def url(self) -> str:
        """The address to name in HF_ENDPOINT."""
        return f"http://127.0.0.1:{self.server_port}"

    def environment(self, token: str | None = WRITER) -> dict[str, str]:
        """Return the variables that make huggingface_hub use this server only."""
        token_variable = {"HF_TOKEN": token} if token else {}
        return {
            "HF_ENDPOINT": self.url,
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_XET_TELEMETRY_ENABLED": "0",
            "HF_XET_XORB_COMPRESSION_POLICY": "none",
            "HF_XET_CLIENT_RETRY_BASE_DELAY": "10ms",
            # this server's process may be busy
            "HF_HUB_ETAG_TIMEOUT": f"{PATIENCE:g}",
            "HF_HUB_DOWNLOAD_TIMEOUT": f"{PATIENCE:g}",
            "NO_PROXY": "127.0.0.1",
            **token_variable,
        }

    def repository(self, name: str, kind: str = "model") -> Repository:
        """Return a repository."""
        return self.repositories[kind, name]

    def add_repository(self, name: str, kind: str = "model", private: bool = False, sdk: str | None = None) -> None:
        """Create a repository with the Hub's first commit."""
        repository = Repository(kind, name, private, sdk)
        attributes = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES).encode()
        repository.add(Commit({".gitattributes": File(attributes, size=len(attributes))}, "", "initial commit"))
        self.repositories[kind, name] = repository

    def upload(self, name: str, files: dict[str, bytes], kind: str = "model") -> None:
        """Commit files to a repository as its owner would."""
        repository = self.repositories[kind, name]
        head = repository.find("main")
        tree = dict(head.tree)
        for path, content in files.items():
            oid = hashlib.sha256(content).hexdigest()
            self.objects[oid] = content
            large = path.endswith(LFS_SUFFIXES)
            tree[path] = _lfs_file(oid, len(content)) if large else File(content, size=len(content))
        repository.add(Commit(tree, head.oid, "The owner's change"))

    def rename(self, old: str, new: str, kind: str = "model") -> None:
        """Rename a repository; the old name redirects."""
        self.repositories[kind, new] = replace(self.repositories.pop((kind, old)), name=new)
        self.renamed[old] = new

    def current_name(self, kind: str, name: str) -> str | None:
        """Return the name that a name redirects to: of a renamed repository, or with other upper and lower case."""
        spellings = {known.lower(): known for known_kind, known in self.repositories if known_kind == kind}
        return spellings.get(self.renamed.get(name, name).lower())

    def state(self) -> dict[str, list[str]]:
        """Return each repository's commits, newest first."""
        return {f"{kind}s/{name}": repository.history() for (kind, name), repository in self.repositories.items()}

    def change(self, name: str, kind: str = "model", **files: str) -> str:
        """Commit as somebody else would, and return the commit's id."""
        repository = self.repositories[kind, name]
        head = repository.find("main")
        added = {path: File(text.encode(), size=len(text)) for path, text in files.items()}
        return repository.add(Commit({**head.tree, **added}, head.oid, "Somebody else's change"))


class _Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"
    # send headers and body in one packet, because each answer would wait for an acknowledgement otherwise
    wbufsize = -1

    def handle_any(self) -> None:
        request = self._read()
        of_xet = XET_PATH.match(request.path) is not None
        with self.server.lock:
            requests = self.server.xet_requests if of_xet else self.server.requests
            number = len(requests)
            requests.append(request)
        fault = self.server.xet_fault(request) if of_xet else self.server.fault(number, request)
        self.server.before(request)
        answer = None
        if fault is None or fault.lost:
            with self.server.lock:
                answer = _answer(self.server, request)
        if fault is None:
            assert answer is not None
            self._send(answer, number)
        elif fault.kind == "refuse":
            self._send(Answer({"error": "injected"}, fault.status), number)
        elif fault.kind == "page":
            self._send(Answer(b"<html>Please log in</html>", 200, {"Content-Type": "text/html"}), number)
        elif fault.kind == "json":
            self._send(Answer(fault.content), number)
        else:
            if fault.kind == "hang":
                # wait until the client closes the connection
                select.select([self.connection], [], [], 30)
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = handle_any

    def _read(self) -> Request:
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        headers = {name.lower(): value for name, value in self.headers.items()}
        token = headers.pop("authorization", "").removeprefix("Bearer ") or None
        return Request(self.command, parts.path, query, headers, self._body(), token)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _send(self, answer: Answer, number: int) -> None:
        body = answer.content if isinstance(answer.content, bytes) else json.dumps(answer.content).encode()
        self.send_response(answer.status)
        self.send_header("X-Request-Id", f"request-{number}")
        if answer.status == 429 and self.server.rate_limit is not None:
            self.send_header("RateLimit", self.server.rate_limit)
        if answer.status in (429, 503) and self.server.retry_after is not None:
            self.send_header("Retry-After", str(self.server.retry_after))
        for name, value in {"Content-Length": str(len(body)), "Content-Type": "application/json"}.items():
            self.send_header(name, answer.headers.pop(name, value))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Log nothing."""


@contextmanager
def hub_server() -> Iterator[HubServer]:
    """Run the server while the block runs."""
    with serving(HubServer()) as server:
        yield server


# accounts

# the token's role, and the user's in the organization
ACCOUNTS = {
    WRITER: ("write", "write"),
    READER: ("read", "write"),
    OUTSIDER: ("write", None),
    SCOPED: ("fineGrained", "write"),
    UNSCOPED: ("fineGrained", "write"),
}


def _account(request: Request) -> tuple[str, str | None]:
    """Return the token's role and the user's role in the organization."""
    if request.token not in ACCOUNTS:
        raise Refusal(401, "Invalid credentials in Authorization header" if request.token else "Invalid username")
    return ACCOUNTS[request.token]


def _require_no_read_token(request: Request) -> None:
    role, _ = _account(request)
    if role == "read":
        raise Refusal(403, "Forbidden: you must use a write token to upload to a repository.")


def _require_writer(request: Request) -> None:
    _require_no_read_token(request)
    _, role_in_organization = _account(request)
    if role_in_organization != "write" or request.token == UNSCOPED:
        raise Refusal(403, "Forbidden: you don't have write access")


def _require_terms(server: HubServer, request: Request, kind: str, name: str) -> None:
    """Refuse whoever has not accepted the terms of a gated repository."""
    if name in server.gated and request.token not in (WRITER, SCOPED):
        status, advice = (403, "ask for access") if request.token in ACCOUNTS else (401, "log in")
        raise Refusal(status, f"Access to {kind} {name} is restricted: {advice} at its page", code="GatedRepo")


def _find(server: HubServer, request: Request, kind: str, name: str) -> Repository:
    found = server.repositories.get((kind, name))
    if found is None and (current := server.current_name(kind, name)):
        raise Moved(request, name, current)
    if found is None or (found.private and request.token not in (WRITER, SCOPED)):
        raise Refusal(404, "Repository not found", code="RepoNotFound")
    return found


# routes: each takes the server, the request and its pattern's groups

Route = Callable[..., Answer]
ROUTES: list[tuple[str, re.Pattern[str], Route]] = []
REPO = r"(?P<kind>model|dataset|space)s/(?P<name>[^/]+/[^/]+)"
WEB = r"(?:(?P<kind>dataset|space)s/)?(?P<name>[^/]+/[^/]+)"


def _route(method: str, pattern: str) -> Callable[[Route], Route]:
    def register(route: Route) -> Route:
        ROUTES.append((method, re.compile(pattern), route))
        return route

    return register


def _answer(server: HubServer, request: Request) -> Answer:
    method = "GET" if request.method == "HEAD" else request.method
    for route_method, pattern, route in ROUTES:
        match = pattern.fullmatch(request.path)
        if match and method == route_method:
            found = {name: unquote(value) for name, value in match.groupdict().items() if value}
            try:
                return route(server, request, **found)
            except Refusal as refusal:
                return Answer(refusal.content, refusal.status, refusal.headers)
    return Answer({"error": f"this server has no route for {request}"}, 404)


@_route("GET", "/api/whoami-v2")
def _whoami(server: HubServer, request: Request) -> Answer:
    role, role_in_organization = _account(request)
    plan = {"plan": "team"} if server.paid_plan else {}
    organizations = [{"name": ORGANIZATION, "roleInOrg": role_in_organization, **plan}] if role_in_organization else []
    token: dict[str, Any] = {"displayName": "test", "role": role}
    if role == "fineGrained":
        permissions = ["repo.content.read", *(["repo.write", "collection.write"] if request.token == SCOPED else [])]
        scope = {"entity": {"type": "org", "name": ORGANIZATION}, "permissions": permissions}
        token["fineGrained"] = {"global": [], "scoped": [scope]}
    return Answer(
        {
            "type": "user",
            "name": USER,
            "isPro": server.paid_plan,
            "orgs": organizations,
            "auth": {"accessToken": token},
        }
    )


@_route("POST", "/api/validate-yaml")
def _validate(server: HubServer, request: Request) -> Answer:
    sent = request.json()
    match = re.match(r"---\n(.*?)\n---\n", sent["content"], re.DOTALL)
    metadata = yaml.safe_load(match[1]) if match else {}
    problems = [*_problems(metadata, sent["repoType"])]
    errors = [{"message": problem} for problem in problems]
    return Answer({"errors": errors, "warnings": []}, 400 if errors else 200)


def _problems(metadata: dict[str, Any], kind: str) -> Iterator[str]:
    if metadata.get("license") not in LICENSES:
        yield f'"license" must be one of [{", ".join(LICENSES)}]'
    for name in ("base_model", "datasets", "models", "adapters"):
        values = metadata.get(name, [])
        for value in values if isinstance(values, list) else [values]:
            if not REPOSITORY.fullmatch(value):
                yield f'"{name}" with value "{value}" is not valid'
    if metadata.get("base_model_relation", "adapter") not in RELATIONS:
        yield f'"base_model_relation" must be one of [{", ".join(RELATIONS)}]'
    yield from _index_problems(metadata.get("model-index", []))
    if kind == "space":
        yield from _space_problems(metadata)


def _index_problems(index: list[dict[str, Any]]) -> Iterator[str]:
    for entry in index:
        for result in entry["results"]:
            if not ({"type"} <= result["task"].keys() and {"type", "name"} <= result["dataset"].keys()):
                yield '"model-index[0].results[0]" lacks its task or its dataset'
            if not all(isinstance(metric["value"], int | float) for metric in result["metrics"]):
                yield '"model-index[0].results[0].metrics" must be numbers'


def _space_problems(metadata: dict[str, Any]) -> Iterator[str]:
    if metadata.get("sdk") not in ("gradio", "streamlit", "docker", "static"):
        yield '"sdk" is required'
    for name in ("colorFrom", "colorTo"):
        if metadata.get(name, "red") not in COLORS:
            yield f'"{name}" must be one of [{", ".join(COLORS)}]'
    version = str(metadata.get("sdk_version", ""))
    if metadata.get("sdk") == "gradio" and not re.fullmatch(r"\d+\.\d+\.\d+", version):
        yield '"sdk_version" must be a version'
    if len(metadata.get("short_description", "")) > 60:
        yield '"short_description" length must be less than or equal to 60 characters long'


@_route("POST", "/api/repos/create")
def _create(server: HubServer, request: Request) -> Answer:
    _require_writer(request)
    sent = request.json()
    kind, name = sent.get("type", "model"), f"{sent['organization']}/{sent['name']}"
    url = f"{server.url}/{'' if kind == 'model' else f'{kind}s/'}{name}"
    is_free = sent.get("sdk") == "static" or sent.get("hardware") == "zero-a10g"
    if kind == "space" and not is_free and not server.paid_plan:
        raise Refusal(402, "Subscribe to PRO to create this Space")
    if server.current_name(kind, name):
        raise Refusal(409, f"You already created this {kind} repo", url=url)
    private = sent["visibility"] == "private" if "visibility" in sent else server.private_by_default
    server.add_repository(name, kind, private, sent.get("sdk"))
    return Answer({"url": url, "name": name})


@_route("GET", rf"/api/{REPO}(?:/revision/(?P<revision>[^/]+))?")
def _info(server: HubServer, request: Request, kind: str, name: str, revision: str = "main") -> Answer:
    repository = _find(server, request, kind, name)
    commit = repository.find(revision)
    return Answer(
        {
            "id": name,
            "sha": commit.oid,
            "private": repository.private,
            "gated": "manual" if name in server.gated else False,
            "sdk": repository.sdk,
            "pipeline_tag": _task(commit) if kind == "model" else None,
            "lastModified": DATE,
            "createdAt": DATE,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "siblings": [{"rfilename": path} for path in commit.tree],
        }
    )


def _task(commit: Commit) -> str | None:
    """Return the task that the card's metadata names."""
    card = commit.tree["README.md"].content.decode() if "README.md" in commit.tree else ""
    found = re.search(r"^pipeline_tag: (\S+)$", card, re.MULTILINE)
    return found[1] if found else None


@_route("GET", "/api/spaces/(?P<name>[^/]+/[^/]+)/secrets")
def _secrets(server: HubServer, request: Request, name: str) -> Answer:
    _require_writer(request)
    return Answer({secret: {"key": secret} for secret in server.secrets.get(name, [])})


@_route("GET", rf"/api/{REPO}/auth-check/write")
def _write_check(server: HubServer, request: Request, kind: str, name: str) -> Answer:
    _find(server, request, kind, name)
    _require_writer(request)
    return Answer({})


@_route("POST", rf"/api/{REPO}/branch/(?P<branch>[^/]+)")
def _branch(server: HubServer, request: Request, kind: str, name: str, branch: str) -> Answer:
    _require_writer(request)
    repository = _find(server, request, kind, name)
    if branch in repository.refs:
        raise Refusal(409, "Reference already exists")
    repository.refs[branch] = repository.refs["main"]
    return Answer({})


@_route("GET", rf"/api/{REPO}/tree/(?P<revision>[^/]+)(?:/(?P<folder>.+))?")
def _tree(server: HubServer, request: Request, kind: str, name: str, revision: str, folder: str = "") -> Answer:
    commit = _find(server, request, kind, name).find(revision)
    start = f"{folder}/" if folder else ""
    listed: dict[str, dict[str, Any]] = {}
    for path, file in commit.tree.items():
        if not path.startswith(start):
            continue
        inner = path.removeprefix(start)
        if "/" in inner and request.query.get("recursive") != "true":
            path = start + inner.split("/")[0]
            listed[path] = {"type": "directory", "oid": "0" * 40, "size": 0, "path": path}
            continue
        listed[path] = {"type": "file", "oid": file.blob, "size": file.size, "path": path}
        if file.lfs:
            listed[path]["lfs"] = {"oid": file.lfs, "size": file.size, "pointerSize": len(file.content)}
    if start and not listed:
        raise Refusal(404, f"{folder} does not exist", code="EntryNotFound")
    return Answer([*listed.values()])


@_route("POST", rf"/api/{REPO}/preupload/(?P<revision>[^/]+)")
def _preupload(server: HubServer, request: Request, kind: str, name: str, revision: str) -> Answer:
    repository = _find(server, request, kind, name)
    _require_no_read_token(request)
    if request.query.get("create_pr") != "1":
        _require_writer(request)
    tree = repository.find(revision).tree
    return Answer({"files": [_upload_mode(file, tree.get(file["path"])) for file in request.json()["files"]]})


def _upload_mode(file: dict[str, Any], committed: File | None) -> dict[str, Any]:
    sample = b64decode(file["sample"])
    large = file["path"].endswith(LFS_SUFFIXES) or file["size"] > 10_000_000 or b"\0" in sample
    oid = (committed.lfs or committed.blob) if committed else None
    return {"path": file["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": oid}


@_route("POST", rf"/{WEB}\.git/info/lfs/objects/batch")
def _batch(server: HubServer, request: Request, name: str, kind: str = "model") -> Answer:
    _find(server, request, kind, name)
    _account(request)
    objects = []
    for requested in request.json()["objects"]:
        oid = requested["oid"]
        actions = {"upload": {"href": f"{server.url}/lfs/{oid}"}, "verify": {"href": f"{server.url}/lfs/{oid}/verify"}}
        objects.append({**requested, **({} if oid in server.objects else {"actions": actions})})
    return Answer({"transfer": "basic", "objects": objects})


@_route("PUT", "/lfs/(?P<oid>[0-9a-f]{64})")
def _upload(server: HubServer, request: Request, oid: str) -> Answer:
    if hashlib.sha256(request.body).hexdigest() != oid:
        raise Refusal(400, "the content has a different hash")
    server.objects[oid] = request.body
    return Answer({})


@_route("POST", "/lfs/(?P<oid>[0-9a-f]{64})/verify")
def _verify(server: HubServer, request: Request, oid: str) -> Answer:
    if len(server.objects.get(oid, b"")) != request.json()["size"]:
        raise Refusal(404, "no such object")
    return Answer({})


@_route("POST", rf"/api/{REPO}/commit/(?P<revision>[^/]+)")
def _commit(server: HubServer, request: Request, kind: str, name: str, revision: str) -> Answer:
    repository = _find(server, request, kind, name)
    wants_pull_request = request.query.get("create_pr") == "1"
    _require_no_read_token(request)
    if not wants_pull_request:
        _require_writer(request)
    header, *operations = [json.loads(line) for line in request.body.splitlines()]
    head = repository.find(revision)
    if header["value"].get("parentCommit", head.oid) != head.oid:
        raise Refusal(412, "A commit has happened since. Please refresh and try again.")
    tree = dict(head.tree)
    for operation in operations:
        _apply(server, tree, operation["key"], operation["value"])
    number = len(repository.pull_requests) + 1
    title = header["value"]["summary"]
    oid = repository.add(Commit(tree, head.oid, title), f"refs/pr/{number}" if wants_pull_request else revision)
    answer = {"success": True, "commitOid": oid, "commitUrl": f"{server.url}/{name}/commit/{oid}", "hookOutput": ""}
    if wants_pull_request:
        repository.pull_requests.append(
            {
                "num": number,
                "title": title,
                "author": {"name": "somebody"},
                "createdAt": DATE,
                "status": "open",
                "repo": {"name": name, "type": kind},
                "isPullRequest": True,
            }
        )
        answer["pullRequestUrl"] = f"{server.url}/{name}/discussions/{number}"
    return Answer(answer)


def _lfs_file(oid: str, size: int) -> File:
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n"
    return File(pointer.encode(), oid, size)


def _apply(server: HubServer, tree: dict[str, File], key: str, value: dict[str, Any]) -> None:
    path = value["path"]
    if key == "file":
        content = b64decode(value["content"])
        tree[path] = File(content, size=len(content))
    elif key == "lfsFile":
        oid = value["oid"]
        if oid not in server.objects:
            raise Refusal(400, f"LFS pointer of {path} points to nothing")
        size = len(server.objects[oid])
        tree[path] = _lfs_file(oid, size)
    elif tree.pop(path, None) is None:
        raise Refusal(404, f"A file with this name doesn't exist: {path}", code="EntryNotFound")


@_route("GET", rf"/api/{REPO}/discussions")
def _discussions(server: HubServer, request: Request, kind: str, name: str) -> Answer:
    found = _find(server, request, kind, name).pull_requests
    return Answer({"discussions": found, "count": len(found), "start": 0})


@_route("GET", rf"/{WEB}/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
def _resolve(server: HubServer, request: Request, name: str, revision: str, path: str, kind: str = "model") -> Answer:
    commit = _find(server, request, kind, name).find(revision)
    _require_terms(server, request, kind, name)
    headers = {"X-Repo-Commit": commit.oid}
    if path not in commit.tree:
        refusal = Refusal(404, "Entry not found", code="EntryNotFound")
        return Answer(refusal.content, 404, {**refusal.headers, **headers})
    file = commit.tree[path]
    content = server.objects[file.lfs] if file.lfs else file.content
    headers |= {"ETag": f'"{file.lfs or file.blob}"', "Content-Type": "application/octet-stream"}
    if file.lfs:
        headers |= {"X-Linked-Etag": f'"{file.lfs}"', "X-Linked-Size": str(file.size)}
        if file.lfs in server.xet.hashes:
            route = f"{server.url}/api/{kind}s/{name}/xet-read-token/{commit.oid}"
            headers |= {"X-Xet-Hash": server.xet.hashes[file.lfs], "Link": f'<{route}>; rel="xet-auth"'}
    return _part(request, content, headers)


def _part(request: Request, content: bytes, headers: dict[str, str]) -> Answer:
    """Return the content, or the range of it that is asked for."""
    byte_range = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
    if not byte_range:
        return Answer(content, 200, headers)
    start, end = int(byte_range[1]), min(int(byte_range[2] or len(content) - 1), len(content) - 1)
    headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
    return Answer(content[start : end + 1], 206, headers)


# Xet


@_route("GET", rf"/api/{REPO}/xet-(?P<scope>read|write)-token/(?P<revision>.+)")
def _xet_token(server: HubServer, request: Request, kind: str, name: str, scope: str, revision: str) -> Answer:
    _find(server, request, kind, name)
    if scope == "write" and request.query.get("create_pr") != "1":
        _require_writer(request)
    expiry = int(time.time()) + 3600
    headers = {"X-Xet-Cas-Url": server.url, "X-Xet-Access-Token": "xet", "X-Xet-Token-Expiration": str(expiry)}
    return Answer({"casUrl": server.url, "accessToken": "xet", "exp": expiry}, 200, headers)


@_route("POST", "/v1/xorbs/default/(?P<xorb>[0-9a-f]{64})")
def _add_xorb(server: HubServer, request: Request, xorb: str) -> Answer:
    _require_xet_token(request)
    is_new = xorb not in server.xet.xorbs
    server.xet.xorbs[xorb] = request.body
    return Answer({"was_inserted": is_new})


@_route("POST", "/v1/shards")
def _add_shard(server: HubServer, request: Request) -> Answer:
    _require_xet_token(request)
    server.objects |= dict(server.xet.add_shard(request.body))
    return Answer({"result": 1})


@_route("GET", "/v1/reconstructions/(?P<file>[0-9a-f]{64})")
def _reconstruct(server: HubServer, request: Request, file: str) -> Answer:
    _require_xet_token(request)
    found = server.xet.reconstruction(file, f"{server.url}/xorbs")
    return Answer(found) if found else Answer({"error": "no such file"}, 404)


@_route("GET", "/xorbs/(?P<xorb>[0-9a-f]{64})")
def _xorb(server: HubServer, request: Request, xorb: str) -> Answer:
    return _part(request, server.xet.xorbs[xorb], {"Content-Type": "application/octet-stream"})


def _require_xet_token(request: Request) -> None:
    if request.token != "xet":
        raise Refusal(401, "Unauthorized")


# collections


@_route("POST", "/api/collections")
def _create_collection(server: HubServer, request: Request) -> Answer:
    _require_writer(request)
    sent = request.json()
    name = re.sub(r"\W+", "-", sent["title"].lower())
    slug = f"{sent['namespace']}/{name}-{hashlib.sha1(name.encode()).hexdigest()[:24]}"
    if slug in server.collections:
        raise Refusal(409, "Collection already exists", slug=slug)
    server.collections[slug] = {
        "slug": slug,
        "title": sent["title"],
        "owner": {"name": sent["namespace"]},
        "items": [],
        "lastUpdated": DATE,
        "position": 0,
        "private": sent["private"],
        "theme": "orange",
        "upvotes": 0,
    }
    return Answer(server.collections[slug])


@_route("GET", "/api/collections/(?P<slug>[^/]+/[^/]+)")
def _collection(server: HubServer, request: Request, slug: str) -> Answer:
    return Answer(server.collections[slug])


@_route("POST", "/api/collections/(?P<slug>[^/]+/[^/]+)/items")
def _add_item(server: HubServer, request: Request, slug: str) -> Answer:
    _require_writer(request)
    item = request.json()["item"]
    items = server.collections[slug]["items"]
    _find(server, request, item["type"], item["id"])
    if any((other["type"], other["id"]) == (item["type"], item["id"]) for other in items):
        raise Refusal(409, "Item already in collection")
    items.append({"_id": f"item-{len(items)}", "position": len(items), **item})
    return Answer(server.collections[slug])
