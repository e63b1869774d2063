"""How the page is served: the allowed routes, the limits, the explorer under /explorer, and gradio's options."""

import contextlib
import html
import importlib.util
import json
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend import Backend
from engine import BASE
from i18n import DEFAULT_LANGUAGE, TEXTS, UserFacingError, language_of

try:
    from wine_gpt.publishing.explorer_files import CONTENT_TYPES
except ModuleNotFoundError:
    # in a Space, into which publishing copies the file
    from explorer_files import CONTENT_TYPES  # type: ignore[no-redef]

HERE = Path(__file__).parent
EXPLORER = HERE / "explorer"
# requests that are served concurrently, and requests that may queue
MAX_CONCURRENT = 4
MAX_QUEUE = 200
# bytes; the longest prompt is validation.MAX_CHARACTERS
MAX_BODY = 200_000

logger = logging.getLogger(__name__)

THEME = gr.themes.Base(
    primary_hue=gr.themes.Color(
        "#fdf3f6", "#f9e2ea", "#f1c3d2", "#e398b1", "#cf6389", "#b23a66", "#8a1c45", "#74173a", "#5c132e", "#480f25",
        "#2f0918",
    ),
    neutral_hue="stone",
    font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
    font_mono=["ui-monospace", "Menlo", "Consolas", "monospace"],
    radius_size="lg",
).set(
    button_primary_background_fill="*primary_600",
    button_primary_background_fill_hover="*primary_700",
    button_primary_background_fill_dark="*primary_600",
    button_primary_background_fill_hover_dark="*primary_500",
    block_title_text_color="#2b2024",
    block_title_text_color_dark="#f0e7ea",
    block_info_text_color="#6b5a61",
    block_info_text_color_dark="#b5a3aa",
    body_text_color_subdued="#6b5a61",
    body_text_color_subdued_dark="#b5a3aa",
    input_background_fill_dark="#211a1d",
    body_background_fill="#faf7f4",
    body_background_fill_dark="#171214",
)  # fmt: skip


# gradio's lists handle the Tab key after they have lost the focus, and open again
CLOSE_LISTS = """() => document.addEventListener("keydown", (event) => {
  if (event.key === "Tab" && event.target.role === "combobox") event.stopPropagation();
}, true)"""


NO_SCRIPT = b"<noscript>This page needs JavaScript. &middot; Esta p&aacute;gina necesita JavaScript.</noscript>"


class LoggedBlocks(gr.Blocks):
    """Blocks that show a visitor's error in the browser's language, and log any other error of a call in one line.

    By itself gradio prints a traceback for both.
    """

    async def process_api(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401 - gradio's arguments
        """Call a function of the page or the API."""
        try:
            return await super().process_api(*args, **kwargs)
        except gr.Error:
            raise
        except UserFacingError as error:
            language = language_of(request.headers) if (request := kwargs.get("request")) else DEFAULT_LANGUAGE
            # escaped, because gradio shows messages as HTML
            raise gr.Error(html.escape(error.message(language), quote=False), print_exception=False) from error
        # such as a ValueError of gradio for a call with too few values
        except Exception as error:
            logger.error("call: %.500r", _describe(error))
            raise gr.Error("internal error", print_exception=False) from error


class WithoutTraceback(logging.Filter):
    """A filter that replaces the traceback of a record by one line."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record, and let it pass."""
        if record.exc_info and record.exc_info[1]:
            # uvicorn's message ends in a line break; repr, because an error's can hold control characters
            record.msg, record.args = "%s: %.500r", (record.getMessage().strip(), _describe(record.exc_info[1]))
            record.exc_info = None
        return True


# a request of 60 bytes can cause a traceback of 5 kB of the web server's, and deep JSON one of the MCP server's
for name in ("uvicorn.error", "mcp.server.streamable_http"):
    logging.getLogger(name).addFilter(WithoutTraceback())


def _describe(error: BaseException) -> str:
    """Return an error's first cause, and where it was raised."""
    while error.__cause__ is not None:
        error = error.__cause__
    where = traceback.extract_tb(error.__traceback__)[-1]
    # the message last, because a long one is cut
    return f"{type(error).__name__} ({where.filename}:{where.lineno}): {error}"


class CompressPage:
    """Middleware that compresses the page and its config, whose paths have no extension for gradio to compress by."""

    PATHS = ("/", "/config", "/gradio_api/info")

    def __init__(self, app: ASGIApp) -> None:
        self._app, self._compressing = app, GZipMiddleware(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app."""
        await (self._compressing if scope.get("path") in self.PATHS else self._app)(scope, receive, send)


class AddNoScript:
    """Middleware that gives the page a message for browsers without JavaScript, for which gradio's page is blank."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app, and put the message at the end of the page, which gradio sends in one piece."""
        start: Message | None = None

        async def add(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            if start is not None:
                body = message.get("body", b"").replace(b"</body>", NO_SCRIPT + b"</body>")
                headers = MutableHeaders(raw=start["headers"])
                if body and not message.get("more_body"):
                    headers["content-length"] = str(len(body))
                    message = {**message, "body": body}
                await send({**start, "headers": headers.raw})
                start = None
            await send(message)

        await self._app(scope, receive, add if scope.get("path") == "/" else send)


class TranslateFullQueue:
    """Middleware that answers a full queue in the browser's language, because gradio answers in English only."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app; a 503 becomes a 429, whose message gradio's page shows."""
        language = language_of(Headers(scope=scope)) if scope["type"] == "http" else DEFAULT_LANGUAGE
        if language == DEFAULT_LANGUAGE or not scope["path"].endswith("/queue/join"):
            await self._app(scope, receive, send)
            return
        answer = JSONResponse({"detail": TEXTS[language]["queue_full"]}, status_code=429)
        is_full = False

        async def translate(message: Message) -> None:
            nonlocal is_full
            is_full = is_full or message.get("status") == 503
            if not is_full:
                await send(message)
            elif message["type"] == "http.response.start":
                await answer(scope, receive, send)

        await self._app(scope, receive, translate)


class AllowUsedRoutes:
    """Middleware that answers 404 on every route that neither the page, the API nor MCP uses."""

    # first part of the path after /gradio_api
    PAGE = ("", "assets", "config", "favicon.ico", "robots.txt", "startup-events", "static", "svelte", "theme.css")
    EXPLORER = ("explorer",)
    CALLS = ("api", "app_id", "call", "cancel", "heartbeat", "info", "mcp", "queue", "reset", "run")

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app for an allowed route, otherwise answer 404."""
        route = scope.get("path", "").removeprefix("/gradio_api").removeprefix("/")
        if scope["type"] == "lifespan" or route.split("/")[0] in (*self.PAGE, *self.EXPLORER, *self.CALLS):
            await self._app(scope, receive, send)
        else:
            await PlainTextResponse("not found", status_code=404)(scope, receive, send)


class RequireShortSession:
    """Middleware that refuses a long session id, because gradio keeps every id that it was ever sent."""

    MAX_LENGTH = 64

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app, or answer 422 if a JSON body, the query or the path has a long session id."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        body = await request.body()
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        if any(len(str(session)) > self.MAX_LENGTH for session in self._sessions(request, body)):
            await PlainTextResponse("session_hash is too long", status_code=422)(scope, receive, send)
            return

        async def replay() -> Message:
            return messages.pop() if messages else await receive()

        await self._app(scope, replay, send)

    def _sessions(self, request: Request, body: bytes) -> Iterator[Any]:
        yield request.query_params.get("session_hash", "")
        if "/heartbeat/" in request.url.path:
            yield request.url.path.split("/heartbeat/")[1]
        # a body that is no JSON object is refused by gradio
        with contextlib.suppress(ValueError, RecursionError, AttributeError):
            yield json.loads(body).get("session_hash", "")


class ExplorerRoutes:
    """Sends the explorer's page, and the model's files that it reads."""

    def __init__(self, backend: Backend) -> None:
        files = (path for path in EXPLORER.rglob("*") if path.suffix in CONTENT_TYPES)
        self._page = {path.relative_to(EXPLORER).as_posix(): path for path in files}
        self._backend = backend

    def routes(self) -> list[Route]:
        """Return the routes under /explorer."""
        return [
            Route("/explorer/settings.json", self._send_settings),
            Route("/explorer/model/{model}/{name:path}", self._send_model_file),
            Route("/explorer/{name:path}", self._send_page_file),
        ]

    async def _send_settings(self, _: Request) -> Response:
        return JSONResponse({"model": f"./model/{BASE}/"})

    async def _send_page_file(self, request: Request) -> Response:
        return _send(self._page.get(request.path_params["name"] or "index.html"), request)

    async def _send_model_file(self, request: Request) -> Response:
        model, name = request.path_params["model"], request.path_params["name"]
        try:
            file = await run_in_threadpool(self._backend.model_file, model, name)
        except OSError:
            return PlainTextResponse("the Hub can't be reached", status_code=503)
        return _send(file, request)


def _send(file: Path | None, request: Request) -> Response:
    """Send a file, or 304 to a browser that has it, because each text that is written loads the explorer again."""
    if file is None:
        return PlainTextResponse("not found", status_code=404)
    headers = {"cache-control": "no-cache", "x-content-type-options": "nosniff"}
    answer = FileResponse(file, media_type=CONTENT_TYPES[file.suffix], headers=headers, stat_result=file.stat())
    is_current = StaticFiles().is_not_modified(answer.headers, request.headers)
    return NotModifiedResponse(answer.headers) if is_current else answer


def launch_options(backend: Backend) -> dict[str, Any]:
    """Return the arguments of gradio's ``launch``."""
    return {
        "theme": THEME,
        "js": CLOSE_LISTS,
        "css_paths": [HERE / "page.css"],
        "i18n": gr.I18n(**backend.texts),
        # gradio's own settings would translate half of the page
        "footer_links": ["api"],
        "favicon_path": HERE / ("favicon.svg" if backend.about_wine else "favicon_other.svg"),
        "app_kwargs": {
            "routes": ExplorerRoutes(backend).routes(),
            "middleware": [
                Middleware(AllowUsedRoutes),
                Middleware(CompressPage),
                Middleware(AddNoScript),
                Middleware(TranslateFullQueue),
                Middleware(RequestBodyLimitMiddleware, max_body_size=MAX_BODY),
                Middleware(RequireShortSession),
            ],
        },
        "allowed_paths": [],
        "max_file_size": 1,
        # number of visitors whose state gradio keeps
        "state_session_capacity": MAX_QUEUE,
        "share": False,
        "show_error": False,
        "enable_monitoring": False,
        "run_history": False,
        "ssr_mode": False,
        "mcp_server": importlib.util.find_spec("mcp") is not None,
    }
