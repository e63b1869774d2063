"""The page's layout and events, and the API's functions."""

import html
import inspect
import secrets
from collections.abc import Callable, Iterator, Sequence
from functools import partial, wraps
from typing import Any, NamedTuple

import gradio as gr
from gradio.context import LocalContext
from gradio.events import Dependency, api

import validation
from backend import Backend, CopyCheck, Written
from engine import BASE, Engine
from field_values import FIELDS
from i18n import DEFAULT_LANGUAGE, TEXTS, UserFacingError, language_of
from serving import MAX_CONCURRENT, MAX_QUEUE, LoggedBlocks

# marks a text's key for gradio to translate in the browser; launch_options passes the texts to gradio
t = gr.I18n(**TEXTS)

# values of the template's fields, and a temperature
EXAMPLES = (
    ({"country": "Italy", "province": "Tuscany", "variety": "Sangiovese"}, 0.8),
    ({"country": "US", "province": "California", "variety": "Pinot Noir"}, 0.8),
    ({"country": "Germany", "province": "Mosel", "variety": "Riesling"}, 0.5),
    ({"country": "Argentina", "province": "Mendoza Province", "variety": "Malbec"}, 1.1),
)
QUICK: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
MODEL_CALL: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": MAX_CONCURRENT}
# gradio shows the position in the queue over the output
WRITING: dict[str, Any] = {
    **MODEL_CALL,
    "show_progress": "minimal",
    "api_visibility": "private",
}
# on a phone the text is below the screen
SHOW_TEXT = """() => document.getElementById("review").scrollIntoView({ block: "nearest", behavior: "smooth" })"""
FRAME = '<iframe class="explorer" src="{address}" title="{title}"></iframe>'
# bounded, because an index of few texts has a meaninglessly small error rate
LEAST_ERROR_RATE = 1e-6


class SettingControls(NamedTuple):
    """The controls of a text's settings, in the order of the arguments of :meth:`backend.Backend.write`."""

    model: gr.Dropdown
    temperature: gr.Slider
    top_p: gr.Slider
    guidance: gr.Slider
    length: gr.Slider
    seed: gr.Number
    is_random: gr.Checkbox


def build(backend: Backend) -> gr.Blocks:
    """Return the page and its API."""
    demo: gr.Blocks
    with LoggedBlocks(title=backend.name, analytics_enabled=False) as demo:
        gr.Markdown(t("heading"))
        gr.Markdown(t("lead"))
        for number in range(len(backend.problems)):
            gr.Markdown(t(f"problem_{number}"), elem_classes="problem")
        if backend.engine is not None:
            with gr.Tabs():
                explorer_frame = gr.HTML(render=False)
                # a search for reviews like the one that was written
                searched = gr.Textbox(label=t("similar_text"), lines=4, render=False)
                with gr.Tab(t("tab_write")):
                    _write_tab(backend, backend.engine, demo, explorer_frame, searched)
                with gr.Tab(t("tab_inside")):
                    explorer_frame.render()
                with gr.Tab(t("tab_compare")):
                    _compare_tab(backend, backend.engine)
                with gr.Tab(t("tab_similar"), visible=backend.reviews is not None):
                    _similar_tab(backend, searched)
        _api(backend, demo)
        gr.Markdown(t("about"), elem_classes="about")
    demo.queue(max_size=MAX_QUEUE, default_concurrency_limit=MAX_CONCURRENT, api_open=False)
    return demo


def _api(backend: Backend, demo: gr.Blocks) -> None:
    @wraps(backend.generate)
    def generate(*arguments: Any, **named: Any) -> Iterator[str]:  # noqa: ANN401
        yield from backend.generate(*arguments, **named)

    # gradio shows the docstring to programs and MCP clients; that of the other functions names no corpus
    generate.__doc__ = backend.document(inspect.getdoc(backend.generate) or "")
    functions: tuple[Callable[..., Any], ...] = (generate, backend.next_words, backend.attention)
    for function in functions:
        call = api(function, api_name=function.__name__, **MODEL_CALL)
        # gradio's page of the API calls them "1st", "2nd", ...
        for number, name in zip(call["inputs"], inspect.signature(function).parameters, strict=True):
            component: Any = demo.blocks[number]
            component.label = name


# ---- writing --------------------------------------------------------------------------------------------------------


def _write_tab(
    backend: Backend, engine: Engine, demo: gr.Blocks, explorer_frame: gr.HTML, searched: gr.Textbox
) -> None:
    """Lay out the tab; what is written is also shown in the explorer's frame, and ``searched`` for."""
    examples = _examples(backend, engine)
    link_problem = gr.HTML()
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            dropdowns = _dropdowns(backend)
            info = t("prompt_info") if dropdowns or (not backend.about_wine and backend.template.form) else None
            prompt = gr.Textbox(backend.default_prompt, label=t("prompt"), info=info, lines=2, elem_id="prompt")
            write, stop = _write_and_stop("write")
            buttons = _example_buttons({name: name for name in examples})
            with gr.Accordion(t("settings"), open=False):
                settings = _settings(backend, engine)
        with gr.Column(scale=3, min_width=300):
            text = _text("review")
            notes = gr.HTML(elem_id="notes")
    written = gr.State()
    _link_dropdowns(backend, dropdowns, prompt)
    writing = {
        "fn": _writer(backend),
        "inputs": [prompt, *settings],
        "outputs": [text, written, settings.seed, notes],
        "show_progress_on": text,
        **WRITING,
    }
    open_page = _opener(backend, engine, examples)
    opened = [link_problem, explorer_frame, *dropdowns, prompt, *settings]
    clicked = [write.click, prompt.submit]
    starts: list[tuple[list[Any], Dependency]] = [
        (clicked, gr.on(clicked, None, js=SHOW_TEXT, **QUICK).then(**writing)),
        ([], demo.load(open_page, None, opened, **QUICK).then(**writing)),
    ]
    for name, button in buttons.items():
        fill = partial(_fill, backend, *examples[name])
        filled = button.click(fill, None, [*dropdowns, prompt, settings.temperature], **QUICK)
        starts.append(([button.click], filled.then(**writing)))
    shown = [notes, explorer_frame, searched]
    finishing = {"fn": partial(_finish, backend), "inputs": written, "outputs": shown, **QUICK}
    for _, run in starts:
        run.then(**finishing)
    stop.click(**finishing, cancels=[run for _, run in starts])
    _cancel_each_other(starts)


def _writer(backend: Backend) -> Callable[..., Iterator[tuple[str, Written, int, str]]]:
    def write(
        prompt: str,
        model: str,
        temperature: float,
        top_p: float,
        guidance: float,
        length: int,
        seed: int,
        is_random: bool,
    ) -> Iterator[tuple[str, Written, int, str]]:
        seed = secrets.randbits(32) if is_random else seed
        for piece in backend.write(prompt, model, temperature, top_p, guidance, length, seed):
            yield piece.text, piece, seed, ""

    return write


def _fill(backend: Backend, prompt: str, temperature: float) -> list[Any]:
    """Return the values of the dropdowns, the prompt and the temperature for an example."""
    return [*_dropdown_values(backend, prompt), prompt, temperature]


def _opener(
    backend: Backend, engine: Engine, examples: dict[str, tuple[str, float]]
) -> Callable[[gr.Request], list[Any]]:
    def open_page(request: gr.Request) -> list[Any]:
        values, wrong = _opened(backend, engine, examples, dict(request.query_params))
        problem = (
            f'<p class="problem" role="alert">{_say(backend, "link_bad", names=", ".join(wrong))}</p>' if wrong else ""
        )
        prompt, settings = values["prompt"], [values[name] for name in SettingControls._fields]
        # the explorer writes a text of its own until there is one
        return [problem, _frame(backend), *_dropdown_values(backend, prompt), prompt, *settings]

    return open_page


def _finish(backend: Backend, written: Written | None) -> Any:  # noqa: ANN401 - gradio's skip is of its own kind
    # it was stopped before its first word
    if written is None:
        return gr.skip()
    return _notes(backend, written), _frame(backend, written.explorer_link), written.text


def _write_and_stop(key: str) -> tuple[gr.Button, gr.Button]:
    with gr.Row():
        write = gr.Button(t(key), variant="primary", min_width=120, elem_id=key)
        return write, gr.Button(t("stop"), min_width=120, elem_id=f"stop_{key}")


def _cancel_each_other(starts: Sequence[tuple[Sequence[Any], Dependency]]) -> None:
    """Make each start cancel the runs of the others, because all of them write into the same boxes.

    Args:
        starts: events, and the run that follows them. Gradio handles the listeners of an event one after the other, so
            the run must come after a quick one with ``then``: otherwise the others would be canceled at its end.
    """
    for events, run in starts:
        if events:
            gr.on(events, None, cancels=[other for _, other in starts if other is not run], api_visibility="private")


def _text(key: str) -> gr.Textbox:
    return gr.Textbox(label=t(key), lines=8, interactive=False, buttons=["copy"], elem_id=key)


def _example_buttons(labels: dict[str, Any]) -> dict[str, gr.Button]:
    """Add a row of buttons, unless there are no labels, and return the buttons by name."""
    if not labels:
        return {}
    gr.Markdown(t("examples"))
    with gr.Row():
        return {name: gr.Button(label, size="sm", min_width=130) for name, label in labels.items()}


def _examples(backend: Backend, engine: Engine) -> dict[str, tuple[str, float]]:
    """Return each example whose words the model knows: its name to prompt and temperature."""
    fields = backend.field_values.fields
    if not backend.about_wine:
        rows = backend.field_values.combinations()[: len(EXAMPLES)]
        return {" · ".join(row.values()): (backend.template.prompt(row), engine.temperature) for row in rows}
    named = {
        " · ".join(values[name] for name in reversed(fields) if name != "country" or len(fields) == 1): (
            backend.template.prompt({name: values[name] for name in fields}),
            temperature,
        )
        for values, temperature in EXAMPLES
        if fields
    }
    return {name: example for name, example in named.items() if engine.knows(example[0])}


# ---- the fields of the prompt ---------------------------------------------------------------------------------------


def _dropdowns(backend: Backend) -> list[gr.Dropdown]:
    """Return a dropdown for each field that has values, two in a row."""

    def dropdown(level: int) -> gr.Dropdown:
        name = fields[level]
        return gr.Dropdown(
            backend.field_values.options() if level == 0 else [],
            value=None,
            label=t(name) if name in FIELDS else name.replace("_", " ").strip().capitalize(),
            min_width=120,
        )

    fields, dropdowns = backend.field_values.fields, []
    for first in range(0, len(fields), 2):
        with gr.Row():
            dropdowns += [dropdown(level) for level in range(first, min(first + 2, len(fields)))]
    return dropdowns


def _link_dropdowns(backend: Backend, dropdowns: list[gr.Dropdown], prompt: gr.Textbox) -> None:
    """Make each dropdown filter the next one, update the prompt from them, and them from a typed prompt."""
    fields = backend.field_values.fields

    def choose(*chosen: str | None) -> list[Any]:
        values = {field: value for field, value in zip(fields, chosen, strict=False) if value}
        header = backend.template.prompt(values)
        return [header, *_dropdown_values(backend, header)]

    # by default gradio ignores an event while the one before it is answered
    latest = {**QUICK, "trigger_mode": "always_last"}
    # select, because gradio sends input also when a dropdown loses the focus, which would clear what is chosen
    for count, dropdown in enumerate(dropdowns, 1):
        dropdown.select(choose, dropdowns[:count], [prompt, *dropdowns], **latest)
    if dropdowns:
        prompt.blur(lambda typed: _dropdown_values(backend, typed), prompt, dropdowns, **latest)


def _dropdown_values(backend: Backend, prompt: str) -> list[gr.Dropdown]:
    """Return the dropdowns with the values that a prompt names."""
    chosen = backend.field_values.match(backend.template.values(prompt))
    return [
        gr.Dropdown(
            backend.field_values.options(chosen[:level]) if level <= len(chosen) else [],
            value=chosen[level] if level < len(chosen) else None,
        )
        for level in range(len(backend.field_values.fields))
    ]


# ---- the settings ---------------------------------------------------------------------------------------------------


def _model(backend: Backend) -> gr.Dropdown:
    choices = [(label, name) for name, label in backend.adapters.items()]
    return gr.Dropdown(choices, value=BASE, label=t("model"), visible=len(choices) > 1)


def _temperature(engine: Engine) -> gr.Slider:
    low, high = validation.TEMPERATURES
    return gr.Slider(low, high, engine.temperature, step=0.05, label=t("temperature"), info=t("temperature_info"))


def _guidance(backend: Backend) -> gr.Slider:
    low, high = backend.guidances
    # without fields there are no values to follow
    is_shown = bool(backend.template.fields) and low < high
    return gr.Slider(low, high, 1, step=0.25, label=t("guidance"), info=t("guidance_info"), visible=is_shown)


def _seed() -> tuple[gr.Number, gr.Checkbox]:
    # without bounds, because gradio's own message about them is in English only
    return gr.Number(1, label=t("seed"), info=t("seed_info"), precision=0), gr.Checkbox(True, label=t("random_seed"))


def _settings(backend: Backend, engine: Engine) -> SettingControls:
    low, high = validation.TOP_PS
    return SettingControls(
        _model(backend),
        _temperature(engine),
        gr.Slider(low, high, engine.top_p, step=0.05, label=t("top_p"), info=t("top_p_info")),
        _guidance(backend),
        gr.Slider(1, backend.length, backend.length, step=1, label=t("length")),
        *_seed(),
    )


def _opened(
    backend: Backend, engine: Engine, examples: dict[str, tuple[str, float]], link: dict[str, str]
) -> tuple[dict[str, Any], list[str]]:
    """Return the prompt and the settings by name when the page opens, and the names of the link's invalid values.

    What the link does not set is the first example's or the model's own.
    """
    prompt, temperature = next(iter(examples.values()), (backend.default_prompt, engine.temperature))
    readers: dict[str, tuple[Callable[[str], Any], Any]] = {
        "prompt": (lambda given: validation.text("prompt", given), prompt),
        "model": (lambda given: validation.choice("model", given, backend.adapters), BASE),
        "temperature": (
            lambda given: validation.number("temperature", float(given), *validation.TEMPERATURES),
            engine.temperature if "prompt" in link else temperature,
        ),
        "top_p": (lambda given: validation.number("top_p", float(given), *validation.TOP_PS), engine.top_p),
        "guidance": (lambda given: validation.number("guidance", float(given), *backend.guidances), 1),
        "length": (lambda given: validation.whole("length", float(given), 1, backend.length), backend.length),
        "seed": (lambda given: validation.whole("seed", float(given), *validation.SEEDS), 1),
    }
    values, wrong = {}, []
    for field, (read, default) in readers.items():
        try:
            values[field] = read(link[field]) if field in link else default
        except (UserFacingError, ValueError):
            values[field] = default
            wrong.append(field)
    return {**values, "is_random": "seed" not in link or "seed" in wrong}, wrong


# ---- what is said of a text -----------------------------------------------------------------------------------------


def _notes(backend: Backend, written: Written) -> str:
    """Return HTML with the links to a text, its unknown words and whether it is copied."""
    links = {"link": f"?{written.link}", "open_inside": _explorer(written.explorer_link)}
    anchors = (
        f'<a href="{html.escape(link)}" target="_blank">{_say(backend, key)}</a>' for key, link in links.items()
    )
    lines = [" · ".join(anchors)]
    if unknown := backend.unknown_words(written):
        lines.append(_say(backend, "unknown_note", words=" ".join(unknown)))
    if check := backend.check_copies(written):
        lines += _copy_notes(backend, check)
    return "".join(f"<p>{line}</p>" for line in lines)


def _copy_notes(backend: Backend, check: CopyCheck) -> list[str]:
    n, odds = check.index.n, round(1 / max(check.index.error_rate, LEAST_ERROR_RATE))
    key = "copies_some" if check.run else "copies_none"
    figures = {"length": len(check.run), "words": check.words, "margin": n - 1, "reviews": check.index.reviews}
    found = _say(backend, key, **figures, run=" ".join(check.run))
    return [
        f"<strong>{_say(backend, 'copies_heading')}</strong> {found}",
        f"<small>{_say(backend, 'copies_error_rate', n=n, sure=2 * n - 1, odds=odds)}</small>",
    ]


def _frame(backend: Backend, link: str = "") -> str:
    """Return the explorer's frame, with the text of a :attr:`Written.explorer_link`."""
    return FRAME.format(address=html.escape(_explorer(link)), title=_say(backend, "tab_inside"))


def _explorer(link: str) -> str:
    """Return the explorer's address in the language of the current request."""
    return f"explorer/?lang={_language()}&{link}".removesuffix("&")


# ---- comparing ------------------------------------------------------------------------------------------------------


def _compare_tab(backend: Backend, engine: Engine) -> None:
    prompts = [prompt for prompt, _ in _examples(backend, engine).values()] or [backend.default_prompt]
    first, last = prompts[0], prompts[-1]
    gr.Markdown(t("compare_lead"))
    sides: list[Any] = []
    texts = []
    with gr.Row():
        for name, prompt in (("left", first), ("right", last)):
            with gr.Column(min_width=300, elem_id=f"{name}_side"):
                gr.Markdown(t(name))
                sides += [gr.Textbox(prompt, label=t("prompt"), lines=2), _model(backend), _temperature(engine)]
                texts.append(_text(f"{name}_text"))
    seed, is_random = _seed()
    write, stop = _write_and_stop("compare")
    presets = _presets(backend, engine, first, last)
    buttons = _example_buttons({key: t(key) for key in presets})

    def compare(
        left_prompt: str,
        left_model: str,
        left_temperature: float,
        right_prompt: str,
        right_model: str,
        right_temperature: float,
        seed: int,
        is_random: bool,
    ) -> Iterator[tuple[str, str, int]]:
        seed = secrets.randbits(32) if is_random else seed
        left = (left_prompt, left_model, left_temperature)
        right = (right_prompt, right_model, right_temperature)
        for left_written, right_written in backend.compare(left, right, seed):
            yield left_written.text, right_written.text, seed

    comparing = {
        "fn": compare,
        "inputs": [*sides, seed, is_random],
        "outputs": [*texts, seed],
        "show_progress_on": texts,
        **WRITING,
    }
    starts = [([write.click], write.click(None, **QUICK).then(**comparing))]
    for key, button in buttons.items():
        filled = button.click(lambda values=presets[key]: values, None, sides, **QUICK)
        starts.append(([button.click], filled.then(**comparing)))
    stop.click(None, cancels=[run for _, run in starts], api_visibility="private")
    _cancel_each_other(starts)


def _presets(backend: Backend, engine: Engine, first: str, last: str) -> dict[str, tuple[Any, ...]]:
    """Return the values of both sides by the key of the preset's name."""
    default = engine.temperature
    presets = {"two_temperatures": (first, BASE, 0.3, first, BASE, 1.3)}
    if first != last and ("variety" in backend.field_values.fields or not backend.about_wine):
        presets = {"two_varieties": (first, BASE, default, last, BASE, default), **presets}
    for adapter, label in list(engine.adapters.items())[:1]:
        rows = backend.field_values.combinations()
        # a beginning with the value that the adapter is named after
        own = next((row for row in rows if label.lower() in map(str.lower, row.values())), None)
        prompt = backend.template.prompt(own) if own else first
        presets["two_models"] = (prompt, BASE, default, prompt, adapter, default)
    return presets


# ---- similar reviews ------------------------------------------------------------------------------------------------


def _similar_tab(backend: Backend, searched: gr.Textbox) -> None:
    gr.Markdown(t("similar_lead"))
    searched.render()
    search = gr.Button(t("similar"), variant="primary")
    found = gr.HTML()

    def show(text: str) -> str:
        reviews = backend.similar(text)
        return "".join(f"<p><strong>{cosine}</strong> {html.escape(review)}</p>" for cosine, review in reviews)

    search.click(show, searched, found, api_visibility="private", **MODEL_CALL)


# ---- the language ---------------------------------------------------------------------------------------------------


def _say(backend: Backend, key: str, **values: Any) -> str:  # noqa: ANN401
    """Return a text in the language of the current request, as HTML."""
    return html.escape(backend.texts[_language()][key].format(**values))


def _language() -> str:
    request = LocalContext.request.get(None)
    return DEFAULT_LANGUAGE if request is None else language_of(request.headers)
