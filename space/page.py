"""The page's layout and events, and how it is served."""

import contextlib
import functools
import html
import inspect
import json
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.context import LocalContext
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import validation
from demo import Demo
from engine import BASE, Engine
from i18n import DEFAULT_LANGUAGE, TEXTS, Texts, UserFacingError, language_of
from regions import FIELDS

HERE = Path(__file__).parent
# marks a text's key for gradio to translate; launch_options passes the texts to gradio
t = gr.I18n(**TEXTS)

# requests that are served concurrently, and requests that may queue
MAX_CONCURRENT = 4
MAX_QUEUE = 200
# bytes; the longest prompt is validation.MAX_CHARACTERS
MAX_BODY = 200_000

# values of the template's fields, and a temperature
EXAMPLES = (
    ({"country": "Italy", "province": "Tuscany", "variety": "Sangiovese"}, 0.8),
    ({"country": "US", "province": "California", "variety": "Pinot Noir"}, 0.8),
    ({"country": "Germany", "province": "Mosel", "variety": "Riesling"}, 0.5),
    ({"country": "Argentina", "province": "Mendoza Province", "variety": "Malbec"}, 1.1),
)

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
    body_background_fill="#faf7f4",
    body_background_fill_dark="#171214",
)  # fmt: skip


class AllowUsedRoutes:
    """Middleware that answers 404 on every route that neither the page, the API nor MCP uses."""

    # first part of the path after /gradio_api
    PAGE = ("", "assets", "config", "favicon.ico", "robots.txt", "startup-events", "static", "svelte", "theme.css")
    CALLS = ("api", "app_id", "call", "cancel", "heartbeat", "info", "mcp", "queue", "reset", "run")

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app for an allowed route, otherwise answer 404."""
        route = scope.get("path", "").removeprefix("/gradio_api").removeprefix("/")
        if scope["type"] == "lifespan" or route.split("/")[0] in (*self.PAGE, *self.CALLS):
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


class InjectScript:
    """Middleware that puts the page's script before gradio's, which reads the browser's language when it starts."""

    def __init__(self, app: ASGIApp, texts: Texts) -> None:
        data = json.dumps(texts, ensure_ascii=False).replace("<", "\\u003c")
        script = f"<script>window.pageTexts = {data};\n{_read('page.js')}</script>"
        self._app, self._script = app, script.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app, and add the script to the page."""
        if scope.get("path") != "/" or scope.get("method") != "GET":
            await self._app(scope, receive, send)
            return

        async def send_with_script(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers["content-type"].startswith("text/html"):
                    headers["content-length"] = str(int(headers["content-length"]) + len(self._script))
            elif message["type"] == "http.response.body" and b"<head>" in message["body"]:
                message = {**message, "body": message["body"].replace(b"<head>", b"<head>" + self._script, 1)}
            await send(message)

        await self._app(scope, receive, send_with_script)


def launch_options(demo: Demo) -> dict[str, Any]:
    """Return the arguments of gradio's ``launch``."""
    texts = demo.texts
    return {
        "theme": THEME,
        "css_paths": [HERE / "page.css"],
        "i18n": gr.I18n(**texts),
        # gradio's own settings would translate half of the page
        "footer_links": ["api"],
        "favicon_path": HERE / _icon(demo),
        "app_kwargs": {
            "middleware": [
                Middleware(AllowUsedRoutes),
                Middleware(RequestBodyLimitMiddleware, max_body_size=MAX_BODY),
                Middleware(RequireShortSession),
                Middleware(InjectScript, texts=texts),
            ]
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
    }


QUICK: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
MODEL_CALL: dict[str, Any] = {
    "show_progress": "hidden",
    "api_visibility": "private",
    "concurrency_id": "model",
    "concurrency_limit": MAX_CONCURRENT,
}


def show_errors(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function so that gradio shows a :class:`UserFacingError` to the visitor, without a traceback."""
    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def streaming(*arguments: Any, **named: Any) -> Iterator[Any]:  # noqa: ANN401
            try:
                yield from function(*arguments, **named)
            except UserFacingError as error:
                raise _to_gradio(error) from error

        return streaming

    @functools.wraps(function)
    def wrapped(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        try:
            return function(*arguments, **named)
        except UserFacingError as error:
            raise _to_gradio(error) from error

    return wrapped


def _to_gradio(error: UserFacingError) -> gr.Error:
    # escaped, because gradio shows messages as HTML
    return gr.Error(html.escape(error.message(_language()), quote=False), print_exception=False)


def _language() -> str:
    """Return the language of the current request."""
    request = LocalContext.request.get(None)
    return DEFAULT_LANGUAGE if request is None else language_of(request.query_params, request.headers)


def build(demo: Demo) -> gr.Blocks:
    """Return the page and its API."""
    name = "wine_gpt" if demo.about_wine else demo.name
    with gr.Blocks(title=name, analytics_enabled=False) as page:
        header = _read("header.html").replace("ICON", _read(_icon(demo)))
        _translated(_fill(header, HEADING=demo.texts[DEFAULT_LANGUAGE]["heading"], NAME=name), elem_id="top")
        for problem in demo.problems:
            values = html.escape(json.dumps(problem.values, default=str))
            _translated(
                f'<p class="problem" role="alert" data-text="{problem.key}" data-values="{values}">'
                f"{html.escape(str(problem), quote=False)}</p>"
            )
        if demo.engine is not None:
            with gr.Tabs(elem_id="tabs"):
                with gr.Tab(t("tab_write"), id="write"):
                    _write_tab(demo, demo.engine, page)
                with gr.Tab(t("tab_compare"), id="compare"):
                    _compare_tab(demo, demo.engine)
        _api(demo)
        _translated(_fill(_read("about.html"), MODEL=demo.title), elem_id="about")
    page.queue(max_size=MAX_QUEUE, default_concurrency_limit=MAX_CONCURRENT, api_open=False)
    return page


def _icon(demo: Demo) -> str:
    return "favicon.svg" if demo.about_wine else "favicon_other.svg"


def _fill(content: str, **values: str) -> str:
    """Return HTML with each key replaced by its value, in which no key is looked for."""
    return re.sub("|".join(values), lambda found: html.escape(values[found[0]]), content)


def _translated(content: str, **more: Any) -> gr.HTML:  # noqa: ANN401
    # passed as the value, because gradio evaluates expressions in a template
    return gr.HTML(content, js_on_load="reviewPage.translate(element)", apply_default_css=False, **more)


def _api(demo: Demo) -> None:
    for function in (demo.generate, demo.next_words, demo.attention):
        shown = show_errors(function)
        # gradio shows the docstring to programs and MCP clients
        shown.__doc__ = demo.document(inspect.getdoc(function) or "")
        gr.api(shown, api_name=function.__name__, concurrency_id="model", concurrency_limit=MAX_CONCURRENT)


def _examples(demo: Demo, engine: Engine) -> dict[str, tuple[str, float]]:
    """Return each example whose words the model knows: its name to prompt and temperature."""
    fields = demo.regions.fields
    if not demo.about_wine:
        rows = demo.regions.combinations()[: len(EXAMPLES)]
        return {" · ".join(row.values()): (demo.template.prompt(row), engine.temperature) for row in rows}
    named = {
        " · ".join(values[name] for name in reversed(fields) if name != "country" or len(fields) == 1): (
            demo.template.prompt({name: values[name] for name in fields}),
            temperature,
        )
        for values, temperature in EXAMPLES
        if fields
    }
    return {name: example for name, example in named.items() if engine.knows(example[0])}


def _write_tab(demo: Demo, engine: Engine, page: gr.Blocks) -> None:
    examples = _examples(demo, engine)
    link_bad = _translated('<p class="problem" role="alert" data-text="link_bad"></p>', visible=False)
    with gr.Row(elem_classes="columns"):
        with gr.Column(scale=2, min_width=280, elem_classes="controls"):
            region_fields = _region_fields(demo)
            info = t("prompt_info") if region_fields or (not demo.about_wine and demo.template.form) else None
            prompt = gr.Textbox(
                demo.default_prompt, label=t("prompt"), info=info, lines=2, max_lines=5, elem_id="prompt"
            )
            write = gr.Button(t("write"), variant="primary", elem_id="write")
            buttons = _example_buttons({name: name for name in examples})
            with gr.Accordion(t("settings"), open=False, elem_id="settings"):
                model, temperature, top_p, length, seed = _settings(demo, engine)
        with gr.Column(scale=5, min_width=320):
            review = _review_card(engine)
    settings = [prompt, model, temperature, top_p, length, seed]
    _link_regions(demo, region_fields, prompt)

    def opened(request: gr.Request) -> list[Any]:
        link = dict(request.query_params)
        if "prompt" in link:
            values, wrong = _from_link(demo, engine, link)
        else:
            values, wrong = _first_settings(demo, engine, examples), []
        return [*_regions_of(demo, values[0]), *values, gr.HTML(visible=bool(wrong))]

    # page.js reads the queue position from gradio's progress and shows it in the page's language
    progress = {**MODEL_CALL, "show_progress": "minimal"}
    writing = {
        "fn": show_errors(demo.write),
        "inputs": settings,
        "outputs": review,
        "js": "reviewPage.link",
        **progress,
    }
    runs = [
        write.click(
            None,
            settings,
            seed,
            js="(...all) => reviewPage.nextSeed(...reviewPage.scrollToReview(...all))",
            api_visibility="private",
        ).then(**writing),
        review.again(None, None, seed, js="reviewPage.seed", api_visibility="private").then(**writing),
        review.branch(_event(demo.branch), None, [prompt, seed], **QUICK).success(**writing),
        page.load(opened, None, [*region_fields, *settings, link_bad], **QUICK).then(**writing),
    ]
    for name, button in buttons.items():
        runs.append(
            button.click(
                lambda values=examples[name]: [*_regions_of(demo, values[0]), *values],
                None,
                [*region_fields, prompt, temperature],
                **QUICK,
            ).then(**writing)
        )
    runs.append(review.explain(_event(demo.explain), None, review, trigger_mode="multiple", **MODEL_CALL))
    review.stop(None, cancels=runs, api_visibility="private")


def _review_card(engine: Engine) -> gr.HTML:
    return gr.HTML(
        html_template=_read("review.html"),
        js_on_load="reviewPage.review(element, trigger, props, watch, ['again', 'stop', 'explain', 'branch'])",
        elem_id="review",
        apply_default_css=False,
        layers=engine.layers,
        heads=engine.heads,
    )


def _example_buttons(labels: dict[str, Any]) -> dict[str, gr.Button]:
    """Add a row of buttons, unless there are no labels, and return the buttons by name."""
    if not labels:
        return {}
    with gr.Row(elem_classes="examples"):
        _translated('<span data-text="examples"></span>')
        return {name: gr.Button(label, size="sm", elem_classes="example") for name, label in labels.items()}


def _region_fields(demo: Demo) -> list[gr.Dropdown]:
    """Return a dropdown for each field that has values, two in a row."""

    def dropdown(level: int) -> gr.Dropdown:
        name = fields[level]
        return gr.Dropdown(
            demo.regions.options() if level == 0 else [],
            value=None,
            label=t(name) if name in FIELDS else name.replace("_", " ").strip().capitalize(),
            min_width=120,
        )

    fields, dropdowns = demo.regions.fields, []
    for first in range(0, len(fields), 2):
        with gr.Row(elem_classes="region"):
            dropdowns += [dropdown(level) for level in range(first, min(first + 2, len(fields)))]
    return dropdowns


def _link_regions(demo: Demo, dropdowns: list[gr.Dropdown], prompt: gr.Textbox) -> None:
    """Make each dropdown filter the next one, and update the prompt from all of them."""
    header = {"js": f"reviewPage.header({json.dumps(demo.default_prompt)})", "api_visibility": "private"}

    def narrow(*chosen: str | None) -> dict[gr.Dropdown, gr.Dropdown]:
        first, *others = dropdowns[len(chosen) :]
        cleared = {dropdown: gr.Dropdown([], value=None) for dropdown in others}
        return {first: gr.Dropdown(demo.regions.options(chosen), value=None), **cleared}

    # select, because gradio sends input also when a dropdown loses the focus, which would clear what is chosen
    for count, dropdown in enumerate(dropdowns[:-1], 1):
        changed = dropdown.select(narrow, dropdowns[:count], dropdowns[count:], **QUICK)
        changed.then(None, dropdowns, prompt, **header)
    for dropdown in dropdowns[-1:]:
        dropdown.select(None, dropdowns, prompt, **header)


def _regions_of(demo: Demo, prompt: str) -> list[gr.Dropdown]:
    """Return the dropdowns with the values that a prompt names."""
    chosen = demo.regions.match(demo.template.values(prompt))
    fields = range(len(demo.regions.fields))
    return [
        gr.Dropdown(
            demo.regions.options(chosen[:level]) if level <= len(chosen) else [],
            value=chosen[level] if level < len(chosen) else None,
        )
        for level in fields
    ]


def _model(demo: Demo, label: str = "model", **more: Any) -> gr.Dropdown:  # noqa: ANN401
    choices = [(label, name) for name, label in demo.adapters.items()]
    return gr.Dropdown(choices, value=BASE, label=t(label), visible=len(choices) > 1, **more)


def _temperature(engine: Engine, value: float | None = None) -> gr.Slider:
    low, high = validation.TEMPERATURES
    chosen = engine.temperature if value is None else value
    return gr.Slider(low, high, chosen, step=0.05, label=t("temperature"), info=t("temperature_info"))


def _seed() -> gr.Number:
    # without bounds, because gradio's own message about them is in English only
    return gr.Number(1, label=t("seed"), info=t("seed_info"), precision=0)


def _settings(demo: Demo, engine: Engine) -> tuple[gr.Dropdown, gr.Slider, gr.Slider, gr.Slider, gr.Number]:
    low, high = validation.TOP_PS
    return (
        _model(demo),
        _temperature(engine),
        gr.Slider(low, high, engine.top_p, step=0.05, label=t("top_p"), info=t("top_p_info")),
        gr.Slider(1, demo.length, demo.length, step=1, label=t("length")),
        _seed(),
    )


def _first_settings(demo: Demo, engine: Engine, examples: dict[str, tuple[str, float]]) -> list[Any]:
    """Return the settings when the page opens: the first example's, with a random seed."""
    prompt, temperature = next(iter(examples.values()), (demo.default_prompt, engine.temperature))
    return [prompt, BASE, temperature, engine.top_p, demo.length, secrets.randbits(32)]


def _from_link(demo: Demo, engine: Engine, link: dict[str, str]) -> tuple[list[Any], list[str]]:
    """Return a link's settings, with defaults for missing or invalid ones, and the names of the invalid ones."""
    readers: dict[str, tuple[Callable[[str], Any], Any]] = {
        "prompt": (lambda given: validation.text("prompt", given), demo.default_prompt),
        "model": (lambda given: validation.choice("model", given, demo.adapters), BASE),
        "temperature": (
            lambda given: validation.number("temperature", float(given), *validation.TEMPERATURES),
            engine.temperature,
        ),
        "top_p": (lambda given: validation.number("top_p", float(given), *validation.TOP_PS), engine.top_p),
        "length": (lambda given: validation.whole("length", float(given), 1, demo.length), demo.length),
        "seed": (lambda given: validation.whole("seed", float(given), *validation.SEEDS), 1),
    }
    values, wrong = [], []
    for field, (read, otherwise) in readers.items():
        try:
            values.append(read(link[field]) if field in link else otherwise)
        except (UserFacingError, ValueError):
            values.append(otherwise)
            wrong.append(field)
    return values, wrong


def _compare_tab(demo: Demo, engine: Engine) -> None:
    prompts = [prompt for prompt, _ in _examples(demo, engine).values()] or [demo.default_prompt]
    first, last, usual = prompts[0], prompts[-1], engine.temperature
    _translated('<p class="lead" data-text="compare_lead"></p>')
    sides: list[Any] = []
    with gr.Row(elem_classes="columns"):
        for name, prompt in (("left", first), ("right", last)):
            with gr.Column(min_width=280, elem_classes="controls", elem_id=f"{name}-side"):
                _translated(f'<h2 class="side-name" data-text="{name}"></h2>')
                sides += [gr.Textbox(prompt, label=t("prompt"), lines=2), _model(demo), _temperature(engine)]
    with gr.Row(elem_classes="compare-row"):
        seed = _seed()
        both = gr.Button(t("compare"), variant="primary", elem_id="compare-both")
    presets = {"two_temperatures": (first, BASE, 0.3, first, BASE, 1.3)}
    if first != last and ("variety" in demo.regions.fields or not demo.about_wine):
        presets = {"two_varieties": (first, BASE, usual, last, BASE, usual), **presets}
    for adapter in list(engine.adapters)[:1]:
        presets["two_models"] = (first, BASE, usual, first, adapter, usual)
    buttons = _example_buttons({key: t(key) for key in presets})
    pair = gr.HTML(
        html_template=_read("pair.html"),
        js_on_load="reviewPage.pair(element, props, watch)",
        elem_id="pair",
        apply_default_css=False,
    )

    def compare(*values: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401
        names = ("prompt", "model", "temperature")
        left, right = (dict(zip(names, values[at : at + 3], strict=True)) for at in (0, 3))
        yield from demo.compare(left, right, values[6])

    comparing = {"fn": show_errors(compare), "inputs": [*sides, seed], "outputs": pair, **MODEL_CALL}
    both.click(**comparing)
    for key, button in buttons.items():
        button.click(lambda values=presets[key]: values, None, sides, **QUICK).then(**comparing)


def _event(function: Callable[[dict[str, Any]], Any]) -> Callable[[gr.EventData], Any]:
    """Return a listener that calls a function with the data of an event of page.js."""

    def listener(event: gr.EventData) -> Any:  # noqa: ANN401
        return show_errors(function)(event._data if isinstance(event._data, dict) else {})

    return listener


def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
