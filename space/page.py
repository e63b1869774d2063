"""The page's layout, what happens on it, and how it is served."""

import functools
import html
import inspect
import json
import secrets
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.context import LocalContext
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import checks
from demo import DEFAULT_PROMPT, Demo
from engine import BASE, Engine
from texts import TEXTS, USUAL, Problem, language_of

HERE = Path(__file__).parent
t = gr.I18n(**TEXTS)

# so many at once share the model, chunk by chunk; so many more may wait
AT_ONCE = 4
WAITING = 200

EXAMPLES = {
    "Sangiovese · Tuscany": ("wine review : italy : tuscany : sangiovese :", 0.8),
    "Pinot Noir · California": ("wine review : us : california : pinot noir :", 0.8),
    "Riesling · Mosel": ("wine review : germany : mosel : riesling :", 0.5),
    "Malbec · Mendoza": ("wine review : argentina : mendoza province : malbec :", 1.1),
}

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


class Doors:
    """Shuts what gradio opens and this page never uses: files, uploads, other servers, stored links and histories."""

    SHUT = ("file", "upload", "proxy", "deep_link", "component_server", "custom_component", "stream", "run-history")

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 404 behind a shut door, else pass on."""
        door = scope.get("path", "").removeprefix("/gradio_api").lstrip("/")
        if scope["type"] == "http" and door.startswith(self.SHUT):
            await PlainTextResponse("not here", status_code=404)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


class Script:
    """Puts the page's script before gradio's, which reads the browser's language as soon as it runs."""

    def __init__(self, app: ASGIApp) -> None:
        texts = json.dumps(TEXTS, ensure_ascii=False).replace("<", "\\u003c")
        script = f"<script>window.wineTexts = {texts};\n{_read('page.js')}</script>"
        self._app, self._script = app, script.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and change the page alone."""
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


LAUNCH: dict[str, Any] = {
    "theme": THEME,
    "css_paths": [HERE / "page.css"],
    "i18n": t,
    "footer_links": ["api", "settings"],
    "favicon_path": HERE / "favicon.svg",
    "app_kwargs": {"middleware": [Middleware(Doors), Middleware(Script)]},
    "allowed_paths": [],
    "max_file_size": 1,
    # gradio remembers so many visitors, at about 0.1 MB each
    "state_session_capacity": WAITING,
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
    "concurrency_limit": AT_ONCE,
}


def told(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function so that a :class:`Problem` reaches the visitor as gradio shows errors, without a traceback."""
    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def streaming(*arguments: Any, **named: Any) -> Iterator[Any]:  # noqa: ANN401
            try:
                yield from function(*arguments, **named)
            except Problem as problem:
                raise _shown(problem) from problem

        return streaming

    @functools.wraps(function)
    def wrapped(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        try:
            return function(*arguments, **named)
        except Problem as problem:
            raise _shown(problem) from problem

    return wrapped


def _shown(problem: Problem) -> gr.Error:
    # the page shows messages as HTML
    return gr.Error(html.escape(problem.told(_language()), quote=False), print_exception=False)


def _language() -> str:
    """Return the language of whoever is served."""
    request = LocalContext.request.get(None)
    return USUAL if request is None else language_of(request.query_params, request.headers)


def build(demo: Demo) -> gr.Blocks:
    """Return the page and its API."""
    with gr.Blocks(title="wine_gpt", analytics_enabled=False) as page:
        _static("header.html", "top")
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
        _static("about.html", "about", MODEL=demo.title)
    page.queue(max_size=WAITING, default_concurrency_limit=AT_ONCE, api_open=False)
    return page


def _static(name: str, elem_id: str, **values: str) -> None:
    content = _read(name)
    for key, value in values.items():
        content = content.replace(key, html.escape(value))
    _translated(content, elem_id=elem_id)


def _translated(content: str, **more: Any) -> gr.HTML:  # noqa: ANN401
    # as a value: a template would be evaluated
    return gr.HTML(content, js_on_load="winePage.translate(element)", apply_default_css=False, **more)


def _api(demo: Demo) -> None:
    for function in (demo.generate, demo.next_words, demo.attention):
        gr.api(told(function), api_name=function.__name__, concurrency_id="model", concurrency_limit=AT_ONCE)


def _write_tab(demo: Demo, engine: Engine, page: gr.Blocks) -> None:
    examples = {name: values for name, values in EXAMPLES.items() if engine.knows(values[0])}
    link_bad = _translated('<p class="problem" role="alert" data-text="link_bad"></p>', visible=False)
    with gr.Row(elem_classes="columns"):
        with gr.Column(scale=2, min_width=280, elem_classes="controls"):
            place = _place(demo)
            prompt = gr.Textbox(
                DEFAULT_PROMPT, label=t("prompt"), info=t("prompt_info"), lines=2, max_lines=5, elem_id="prompt"
            )
            write = gr.Button(t("write"), variant="primary", elem_id="write")
            with gr.Row(elem_classes="examples"):
                _translated('<span data-text="examples"></span>')
                buttons = {name: gr.Button(name, size="sm", elem_classes="example") for name in examples}
            with gr.Accordion(t("settings"), open=False, elem_id="settings"):
                model, temperature, top_p, length, seed = _settings(demo, engine)
        with gr.Column(scale=5, min_width=320):
            review = gr.HTML(
                html_template=_read("review.html"),
                js_on_load="winePage.review(element, trigger, props, watch, ['again', 'halt', 'look', 'branch'])",
                elem_id="review",
                apply_default_css=False,
                layers=engine.layers,
                heads=engine.heads,
            )
    fields = [prompt, model, temperature, top_p, length, seed]
    _link_places(demo, place, prompt)

    def opened(request: gr.Request) -> list[Any]:
        link = dict(request.query_params)
        if "prompt" in link:
            values, wrong = _from_link(demo, engine, link)
        else:
            values, wrong = _at_first(demo, engine, examples), []
        return [*_place_of(demo, values[0]), *values, gr.HTML(visible=bool(wrong))]

    # the page's script tells the progress that gradio would show
    progress = {**MODEL_CALL, "show_progress": "minimal"}
    writing = {"fn": told(demo.write), "inputs": fields, "outputs": review, "js": "winePage.link", **progress}
    runs = [
        write.click(**writing),
        review.again(None, None, seed, js="winePage.seed", api_visibility="private").then(**writing),
        review.branch(_event(demo.branch), None, [prompt, seed], **QUICK).success(**writing),
        page.load(opened, None, [*place, *fields, link_bad], **QUICK).then(**writing),
    ]
    for name, button in buttons.items():
        runs.append(
            button.click(
                lambda values=examples[name]: [*_place_of(demo, values[0]), *values],
                None,
                [*place, prompt, temperature],
                **QUICK,
            ).then(**writing)
        )
    runs.append(review.look(_event(demo.look), None, review, trigger_mode="multiple", **MODEL_CALL))
    review.halt(None, cancels=runs, api_visibility="private")


def _link_places(demo: Demo, place: list[gr.Dropdown], prompt: gr.Textbox) -> None:
    """Let each place narrow the next, and all of them write the beginning."""
    if not place:
        return
    country, province, variety = place

    def provinces(chosen: str | None) -> tuple[gr.Dropdown, gr.Dropdown]:
        return gr.Dropdown(list(demo.places.get(chosen or "", {})), value=None), gr.Dropdown([], value=None)

    def varieties(chosen: str | None, province: str | None) -> gr.Dropdown:
        return gr.Dropdown(demo.places.get(chosen or "", {}).get(province or "", []), value=None)

    changed = [
        country.input(provinces, country, [province, variety], **QUICK),
        province.input(varieties, [country, province], variety, **QUICK),
    ]
    for done in changed:
        done.then(None, place, prompt, js="winePage.header", api_visibility="private")
    variety.input(None, place, prompt, js="winePage.header", api_visibility="private")


def _place(demo: Demo) -> list[gr.Dropdown]:
    if not demo.places:
        return []
    with gr.Row(elem_classes="place"):
        country = gr.Dropdown(list(demo.places), value=None, label=t("country"), min_width=120, elem_id="country")
        province = gr.Dropdown([], value=None, label=t("province"), min_width=120, elem_id="province")
    variety = gr.Dropdown([], value=None, label=t("variety"), elem_id="variety")
    return [country, province, variety]


def _place_of(demo: Demo, prompt: str) -> list[gr.Dropdown]:
    """Return the fields of the place with what a beginning names."""
    if not demo.places:
        return []
    country, province, variety = [part.strip().lower() for part in [*prompt.split(":")[1:4], "", "", ""][:3]]

    def field(names: Iterable[str], wanted: str) -> tuple[gr.Dropdown, str]:
        chosen = next((name for name in names if name.lower() == wanted), "")
        return gr.Dropdown(list(names), value=chosen or None), chosen

    first, country = field(demo.places, country)
    second, province = field(demo.places.get(country, {}), province)
    third, _ = field(demo.places.get(country, {}).get(province, []), variety)
    return [first, second, third]


def _model(demo: Demo, label: str = "model", **more: Any) -> gr.Dropdown:  # noqa: ANN401
    choices = [(label, name) for name, label in demo.adapters.items()]
    return gr.Dropdown(choices, value=BASE, label=t(label), visible=len(choices) > 1, **more)


def _temperature(engine: Engine, value: float | None = None) -> gr.Slider:
    low, high = checks.TEMPERATURES
    chosen = engine.temperature if value is None else value
    return gr.Slider(low, high, chosen, step=0.05, label=t("temperature"), info=t("temperature_info"))


def _seed() -> gr.Number:
    # gradio itself would tell the bounds, in English alone
    return gr.Number(1, label=t("seed"), info=t("seed_info"), precision=0)


def _settings(demo: Demo, engine: Engine) -> tuple[gr.Dropdown, gr.Slider, gr.Slider, gr.Slider, gr.Number]:
    low, high = checks.TOP_PS
    return (
        _model(demo),
        _temperature(engine),
        gr.Slider(low, high, engine.top_p, step=0.05, label=t("top_p"), info=t("top_p_info")),
        gr.Slider(1, demo.length, demo.length, step=1, label=t("length")),
        _seed(),
    )


def _at_first(demo: Demo, engine: Engine, examples: dict[str, Any]) -> list[Any]:
    """Return what the fields hold when the page opens: an example, another text each time."""
    prompt, temperature = next(iter(examples.values()), (DEFAULT_PROMPT, engine.temperature))
    return [prompt, BASE, temperature, engine.top_p, demo.length, secrets.randbits(32)]


def _from_link(demo: Demo, engine: Engine, link: dict[str, str]) -> tuple[list[Any], list[str]]:
    """Return the settings that a link names, the usual ones where it names none or a wrong one; and the wrong ones."""
    readers: dict[str, tuple[Callable[[str], Any], Any]] = {
        "prompt": (lambda given: checks.text("prompt", given), DEFAULT_PROMPT),
        "model": (lambda given: checks.choice("model", given, demo.adapters), BASE),
        "temperature": (
            lambda given: checks.number("temperature", float(given), *checks.TEMPERATURES),
            engine.temperature,
        ),
        "top_p": (lambda given: checks.number("top_p", float(given), *checks.TOP_PS), engine.top_p),
        "length": (lambda given: checks.whole("length", float(given), 1, demo.length), demo.length),
        "seed": (lambda given: checks.whole("seed", float(given), *checks.SEEDS), 1),
    }
    values, wrong = [], []
    for field, (read, otherwise) in readers.items():
        try:
            values.append(read(link[field]) if field in link else otherwise)
        except (Problem, ValueError):
            values.append(otherwise)
            wrong.append(field)
    return values, wrong


def _compare_tab(demo: Demo, engine: Engine) -> None:
    known = [prompt for prompt, _ in EXAMPLES.values() if engine.knows(prompt)] or [DEFAULT_PROMPT]
    _translated('<p class="lead" data-text="compare_lead"></p>')
    sides: list[Any] = []
    with gr.Row(elem_classes="columns"):
        for name, prompt in (("left", known[0]), ("right", known[-1])):
            with gr.Column(min_width=280, elem_classes="controls", elem_id=f"{name}-side"):
                _translated(f'<h2 class="side-name" data-text="{name}"></h2>')
                sides += [gr.Textbox(prompt, label=t("prompt"), lines=2), _model(demo), _temperature(engine)]
    with gr.Row(elem_classes="compare-row"):
        seed = _seed()
        both = gr.Button(t("compare"), variant="primary", elem_id="compare-both")
    with gr.Row(elem_classes="examples"):
        _translated('<span data-text="examples"></span>')
        presets = {
            "two_varieties": (known[0], BASE, engine.temperature, known[-1], BASE, engine.temperature),
            "two_temperatures": (known[0], BASE, 0.3, known[0], BASE, 1.3),
        }
        for adapter in list(engine.adapters)[:1]:
            presets["two_models"] = (known[0], BASE, engine.temperature, known[0], adapter, engine.temperature)
        buttons = {key: gr.Button(t(key), size="sm", elem_classes="example") for key in presets}
    pair = gr.HTML(
        html_template=_read("pair.html"),
        js_on_load="winePage.pair(element, props, watch)",
        elem_id="pair",
        apply_default_css=False,
    )

    def compare(*values: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401
        names = ("prompt", "model", "temperature")
        left, right = (dict(zip(names, values[at : at + 3], strict=True)) for at in (0, 3))
        yield from demo.compare(left, right, values[6])

    comparing = {"fn": told(compare), "inputs": [*sides, seed], "outputs": pair, **MODEL_CALL}
    both.click(**comparing)
    for key, button in buttons.items():
        button.click(lambda values=presets[key]: values, None, sides, **QUICK).then(**comparing)


def _event(function: Callable[[dict[str, Any]], Any]) -> Callable[[gr.EventData], Any]:
    """Return a listener that hands on what the page's script sent."""

    def listener(event: gr.EventData) -> Any:  # noqa: ANN401
        return told(function)(event._data if isinstance(event._data, dict) else {})

    return listener


def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
