"""The Gradio app's page in a browser, at a desktop's and a phone's width, in English and Spanish."""

import contextlib
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest

pytest.importorskip("gradio", reason="the demo's packages are not installed")
pytest.importorskip("playwright", reason="playwright is not installed")
pytest.importorskip("axe_playwright_python", reason="axe is not installed")

from playwright.sync_api import Browser, ConsoleMessage, Page, expect
from support.browser import CHROMIUM, DESKTOP, PHONE, launched, new_page, screenshot, serious
from support.local_server import PATIENCE
from support.space_server import client_of, serving
from support.waiting import wait_until

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium")

HEADER = "wine review : italy : tuscany : riesling :"
LINK = {"prompt": HEADER, "model": "base", "temperature": 0.8, "top_p": 1.0, "guidance": 1.0, "length": 60, "seed": 7}
NARROW = {"width": 820, "height": 1180}
# an error's toast disappears after 10 seconds
KEEP_TOASTS = """
() => {
  window.toasts = "";
  new MutationObserver(() => {
    for (const toast of document.querySelectorAll("[data-testid=toast-text]")) window.toasts += toast.textContent;
  }).observe(document, { childList: true, characterData: true, subtree: true });
}
"""

Open = Callable[..., AbstractContextManager[Page]]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def opened(browser: Browser, demo_address: str) -> Open:
    """Return a function that opens a link, waits for its text, and checks the console and requests at the end."""

    @contextmanager
    def open_page(
        link: dict[str, Any] = LINK,
        address: str = demo_address,
        **context: Any,  # noqa: ANN401 - of playwright
    ) -> Iterator[Page]:
        page = new_page(browser, **{"viewport": DESKTOP, **context})
        wrong: list[str] = []
        asked: list[str] = []
        page.on("console", lambda message: wrong.extend([message.text] if is_wrong(message) else []))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: request.url.startswith(("http", "ws")) and asked.append(request.url))
        page.goto(f"{address}/?{urlencode(link)}")
        finished(page)
        yield page
        assert wrong == []
        assert [url for url in asked if not url.startswith(address)] == []
        page.context.close()

    return open_page


def is_wrong(message: ConsoleMessage) -> bool:
    # the explorer asks for files that a model may lack
    return message.type in ("error", "warning") and "404" not in message.text


def finished(page: Page) -> None:
    """Wait until a text is complete."""
    expect(page.locator("#notes a").first).to_be_visible()


def text(page: Page) -> str:
    return page.locator("#review textarea").input_value()


def expect_toast(page: Page, line: str) -> None:
    """Wait for an error, also for one that has disappeared since KEEP_TOASTS was evaluated."""
    page.wait_for_function("line => window.toasts.includes(line)", arg=line)


def link_of(page: Page) -> dict[str, str]:
    address = page.locator("#notes a").first.get_attribute("href")
    return dict(parse_qsl(urlsplit(str(address)).query))


def write(page: Page) -> None:
    """Write another text and wait until it is complete."""
    # a new text has another link
    before = page.locator("#notes a").first.get_attribute("href")
    page.locator("#write").click()
    expect(page.locator("#notes a").first).not_to_have_attribute("href", str(before))
    finished(page)


def test_a_link_writes_what_the_api_writes(opened: Open, demo_address: str) -> None:
    link = {**LINK, "model": "riesling", "temperature": 1.3, "top_p": 0.8, "guidance": 2.0, "length": 12, "seed": 99}
    expected = client_of(demo_address).predict(
        HEADER, temperature=1.3, top_p=0.8, guidance=2, length=12, seed=99, model="riesling", api_name="/generate"
    )
    with opened(link) as page:
        assert text(page) == expected
        assert link_of(page) == {key: str(value) for key, value in link.items()}
        expect(page.get_by_label("Country")).to_have_value("Italy")
        expect(page.get_by_label("Province")).to_have_value("Tuscany")
        page.get_by_role("button", name="Settings").click()
        expect(page.get_by_label("Model").first).to_have_value("Riesling")
        expect(page.get_by_label("Seed", exact=True).first).to_have_value("99")
        page.get_by_label("New seed each time").first.check()
        write(page)
        assert link_of(page)["seed"] != "99"
        screenshot(page, "write-desktop")
        assert serious(page) == []


def test_the_explorer_shows_the_text_that_was_written(opened: Open, demo_address: str) -> None:
    with opened({**LINK, "model": "riesling"}) as page:
        page.get_by_role("tab", name="Look inside").click()
        explorer = page.frame_locator("iframe.explorer")
        expect(explorer.locator(".text-card[data-state=written] .word").nth(1)).to_be_visible()
        shown = " ".join(explorer.locator(".words, .eyebrow").all_inner_texts())
        words = re.findall(r"\w+", text(page).lower())
        assert re.findall(r"\w+", shown.lower()) == words
        explorer.locator("button.word", has_text=re.compile("^wine$")).last.click()
        expected = client_of(demo_address).predict(
            text(page).partition(" wine with")[0], count=1, model="riesling", api_name="/next_words"
        )
        percentage = f"{100 * expected[0]['probability']:.1f}%"
        expect(explorer.locator("[data-view=next]")).to_contain_text(percentage)
        # torch has drawn it, by other numbers than the explorer's for the same seed
        expect(explorer.locator(".number-line")).to_have_text("This word came with the link; its number is not known.")
        expect(explorer.locator(".cumulative b")).to_have_count(0)
        screenshot(page, "inside-desktop", full_page=False)


@pytest.mark.parametrize(
    ("theme", "scheme", "color"), [("dark", "light", "rgb(33, 26, 29)"), ("light", "dark", "rgb(255, 255, 255)")]
)
def test_the_explorer_has_the_language_and_the_theme_of_the_page(
    opened: Open, theme: str, scheme: str, color: str
) -> None:
    with opened({**LINK, "__theme": theme}, locale="fr-FR", color_scheme=scheme) as page:
        # the page is in the first language or in English; by itself the explorer takes the first that it knows
        page.add_init_script("Object.defineProperty(navigator, 'languages', { get: () => ['fr-FR', 'es-ES'] })")
        page.reload()
        finished(page)
        page.get_by_role("tab", name="Look inside").click()
        explorer = page.frame_locator("iframe.explorer")
        expect(explorer.get_by_role("button", name="Next word")).to_be_visible()
        expect(explorer.locator(".text-card")).to_have_css("background-color", color)
        screenshot(page, f"inside-{theme}", full_page=False)


def test_the_fields_write_the_prompt_and_follow_it(opened: Open) -> None:
    with opened() as page:
        prompt = page.locator("#prompt textarea")
        for label, option in (("Country", "Germany"), ("Province", "Mosel"), ("Variety", "Riesling")):
            page.get_by_label(label).click()
            page.get_by_role("option", name=option).click()
            expect(page.get_by_label(label)).to_have_value(option)
        expect(prompt).to_have_value("wine review : germany : mosel : riesling :")
        page.get_by_label("Country").focus()
        for _ in range(4):
            page.keyboard.press("Tab")
        expect(prompt).to_have_value("wine review : germany : mosel : riesling :")
        prompt.fill("wine review : italy :")
        page.keyboard.press("Tab")
        expect(page.get_by_label("Country")).to_have_value("Italy")
        expect(page.get_by_label("Variety")).to_have_value("")
        expect(prompt).to_have_value("wine review : italy :")


def test_copied_words_and_unknown_words_are_named(opened: Open) -> None:
    prompt = "<img src=x onerror=document.title='run'> **bold** ${7*7} {{7*7}}"
    with opened({**LINK, "prompt": prompt}) as page:
        expect(page.locator("#notes")).to_contain_text("The model doesn't know: < img src")
        assert text(page).startswith(prompt)
        assert page.title() == "wine_gpt"
        assert page.locator("#notes img").count() == 0
        page.locator("#prompt textarea").fill(HEADER)
        write(page)
        expect(page.locator("#notes")).to_contain_text(re.compile(r"216 training texts: 12 of the \d+ words"))
        expect(page.locator("#notes")).to_contain_text("copied passage of 23 words or more")


def test_a_spanish_phone_in_the_dark(opened: Open) -> None:
    with opened(
        {**LINK, "temperature": "hot"}, viewport=PHONE, locale="es-ES", color_scheme="dark", reduced_motion="reduce"
    ) as page:
        expect(page.get_by_text("no sirven y se han dejado fuera: temperature")).to_be_visible()
        expect(page.locator("html")).to_have_attribute("lang", "es")
        expect(page.locator("body.dark")).to_have_count(1)
        expect(page.get_by_label("País")).to_be_visible()
        expect(page.locator("#notes")).to_contain_text("¿Está copiada?")
        assert serious(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        screenshot(page, "write-phone-dark")
        expect(page.locator("#notes a").last).to_have_attribute("href", re.compile("^explorer/.*lang=es"))
        page.locator("#prompt textarea").fill("a " * 100)
        page.evaluate(KEEP_TOASTS)
        page.locator("#write").click()
        page.wait_for_function("document.querySelector('#review').getBoundingClientRect().top < innerHeight")
        expect_toast(page, "comienzo: 100 palabras; en el modelo caben 62 como máximo")


def test_two_models_side_by_side_have_one_seed(opened: Open, demo_address: str) -> None:
    with opened(viewport=NARROW) as page:
        page.get_by_role("tab", name="Compare").click()
        page.get_by_role("button", name="Base and adapter").click()
        expect(page.locator("#right_text textarea")).not_to_have_value("")
        seed = int(page.get_by_label("Seed", exact=True).last.input_value())
        prompt = page.locator("#right_side textarea").first.input_value()
        client = client_of(demo_address)
        for side, model in (("left", "base"), ("right", "pinot-noir")):
            expected = client.predict(prompt, seed=seed, model=model, api_name="/generate")
            expect(page.locator(f"#{side}_text textarea")).to_have_value(expected)
        screenshot(page, "compare-narrow")
        assert serious(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]


@pytest.fixture(scope="module")
def held_demo(demo_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Serve a demo for one visitor at a time; return the address and a file that stops its texts while it exists."""
    folder = tmp_path_factory.mktemp("held_demo")
    with serving(folder / "log", hold=folder / "hold", WINE_GPT_MODEL=str(demo_model)) as address:
        yield address, folder / "hold"


def test_stop_keeps_what_is_written_and_its_link_writes_it(opened: Open, held_demo: tuple[str, Path]) -> None:
    address, hold = held_demo
    with opened(address=address) as page:
        whole = text(page)
        hold.touch()
        page.locator("#write").click()
        expect(page.locator("#review textarea")).to_have_value(f"{HEADER} it's")
        # the server has stopped when it answers
        with page.expect_response("**/gradio_api/cancel"):
            page.locator("#stop_write").click()
        finished(page)
        kept = text(page)
        assert whole.startswith(kept)
        assert link_of(page)["length"] == "3"
        write(page)
        assert text(page) == whole


def test_the_explorer_stays_if_the_first_text_is_stopped_before_its_first_word(
    browser: Browser, held_demo: tuple[str, Path]
) -> None:
    address, hold = held_demo
    hold.touch()
    first = client_of(address).submit(api_name="/generate")
    # its first piece, so that the page's request waits
    next(first)
    with contextlib.closing(new_page(browser)) as page:
        page.goto(f"{address}/?{urlencode(LINK)}")
        expect(page.locator("#review")).to_contain_text(": 1")
        with page.expect_response("**/gradio_api/run/*"):
            page.locator("#stop_write").click()
        page.get_by_role("tab", name="Look inside").click()
        explorer = page.frame_locator("iframe.explorer")
        expect(explorer.locator(".text-card[data-state=written] .word").nth(1)).to_be_visible()
    first.result(PATIENCE)


def test_an_example_replaces_the_text_that_is_being_written(opened: Open, held_demo: tuple[str, Path]) -> None:
    address, hold = held_demo
    prompt = "wine review : germany : mosel : riesling :"
    expected = client_of(address).predict(prompt, temperature=0.5, seed=7, api_name="/generate")
    with opened(address=address) as page:
        hold.touch()
        page.locator("#write").click()
        expect(page.locator("#review textarea")).to_have_value(f"{HEADER} it's")
        with page.expect_response("**/gradio_api/cancel"):
            page.get_by_role("button", name="Riesling · Mosel").click()
        expect(page.locator("#review textarea")).to_have_value(expected)
        expect(page.locator("#notes a").first).to_have_attribute(
            "href", re.compile(re.escape(urlencode({"prompt": prompt})))
        )


def test_a_visitor_who_leaves_frees_the_queue(held_demo: tuple[str, Path]) -> None:
    address, hold = held_demo
    join = f"{address}/gradio_api/call/generate"
    answers: list[httpx.Response] = []

    def is_accepted() -> bool:
        body = {"data": [HEADER, None, None, None, 1, "base", 1]}
        answers.append(httpx.post(join, json=body, timeout=PATIENCE))
        return answers[-1].status_code == 200

    def stream() -> str:
        return f"{join}/{answers[-1].json()['event_id']}"

    hold.touch()
    first = client_of(address).submit(api_name="/generate")
    # its first piece, so that the next one waits in the queue
    next(first)
    assert is_accepted()
    waiting = stream()
    assert not is_accepted()
    with httpx.stream("GET", waiting, timeout=PATIENCE):
        pass
    wait_until(is_accepted, lambda: answers[-1].text)
    hold.unlink()
    assert "event: complete" in httpx.get(stream(), timeout=PATIENCE).text
    first.result(PATIENCE)


def test_the_queue_is_shown_and_a_full_one_reported(browser: Browser, held_demo: tuple[str, Path]) -> None:
    address, hold = held_demo
    program = client_of(address)
    with contextlib.closing(new_page(browser, locale="es-ES")) as page:
        page.goto(f"{address}/?{urlencode(LINK)}")
        finished(page)
        hold.touch()
        first = program.submit(api_name="/generate")
        # its first piece, so that the page's request comes second
        next(first)
        page.locator("#write").click()
        expect(page.locator("#review")).to_contain_text(": 1")
        page.get_by_role("tab", name="Comparar").click()
        page.evaluate(KEEP_TOASTS)
        page.locator("#compare").click()
        expect_toast(page, "Esta página está ocupada")
        hold.unlink()
        first.result(PATIENCE)
