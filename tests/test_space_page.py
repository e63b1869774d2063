"""The demo's page in a browser, used with a mouse, with the keyboard only, and at a phone's width."""

import contextlib
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

pytest.importorskip("gradio", reason="the demo's packages are not installed")
pytest.importorskip("playwright", reason="playwright is not installed")
pytest.importorskip("axe_playwright_python", reason="axe is not installed")

from playwright.sync_api import Browser, Page, expect
from support.browser import CHROMIUM, DESKTOP, PHONE, SCREENSHOTS, launched, new_page, serious
from support.local_server import PATIENCE
from support.space_server import client_of, serving

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium")

HEADER = "wine review : italy : tuscany : riesling :"
LINK = {"prompt": HEADER, "temperature": 0.8, "seed": 7}

Open = Callable[..., AbstractContextManager[Page]]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def opened(browser: Browser, demo_address: str) -> Open:
    """Return a function that opens the page with a link's settings and checks the console and requests at the end."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def open_page(
        link: dict[str, Any] = LINK,
        address: str = demo_address,
        **context: Any,  # noqa: ANN401 - of playwright
    ) -> Iterator[Page]:
        page = new_page(browser, **{"viewport": DESKTOP, **context})
        wrong: list[str] = []
        page.on("console", lambda message: message.type == "error" and wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: request.url.startswith(("http", "ws")) and asked.append(request.url))
        asked: list[str] = []
        page.goto(f"{address}/?{urlencode(link)}")
        written(page, link["seed"])
        yield page
        assert wrong == []
        assert [url for url in asked if not url.startswith(address)] == []
        page.context.close()

    return open_page


@pytest.fixture(scope="module")
def held_demo(demo_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Serve a demo for one visitor at a time; return the address and a file that stops its texts while it exists."""
    folder = tmp_path_factory.mktemp("held_demo")
    with serving(folder / "log", hold=folder / "hold", WINE_GPT_MODEL=str(demo_model)) as address:
        yield address, folder / "hold"


def written(page: Page, seed: str | int) -> None:
    """Wait until the review of a seed is complete."""
    expect(page.locator(f'#review .card[data-seed="{seed}"][data-state="written"]')).to_be_visible()


def text(page: Page) -> str:
    return " ".join(page.locator("#review .words").inner_text().split())


def look(page: Page, word: str) -> None:
    page.locator("#review .words button.word", has_text=re.compile(f"^{word}$")).first.click()
    expect(page.locator(".chosen-word")).to_have_text(re.compile(f"^[“«]{word}[”»]$"))


def figures(page: Page, selector: str) -> dict[str, list[float]]:
    """Return the percentages of a list by word."""
    found = {}
    for row in page.locator(f"{selector} li").all():
        percentages = [part.replace("<\u2009", "").rstrip("%") for part in row.locator(".figure").all_inner_texts()]
        found[row.locator(".bar-word").inner_text()] = [float(percentage) / 100 for percentage in percentages]
    return found


def test_a_link_writes_the_review_that_it_was_made_from(opened: Open) -> None:
    with opened() as page:
        first = text(page)
        assert first.startswith("It's a")
        assert page.locator("#review .eyebrow").inner_text().replace(" ", "") == "▸WineReview·Italy·Tuscany·Riesling·"
        expect(page.get_by_label("Country")).to_have_value("Italy")
        expect(page.get_by_label("Province")).to_have_value("Tuscany")
        page.locator("#review .again").click()
        expect(page).not_to_have_url(re.compile("seed=7(&|$)"))
        link = page.url
        written(page, dict(parse_qsl(urlsplit(link).query))["seed"])
        shown = text(page)
        page.locator("#review .raw").check()
        assert text(page).startswith("▸ wine review : italy : tuscany : riesling : it ' s a")
    with opened(dict(parse_qsl(urlsplit(link).query))) as page:
        assert page.url == link
        assert text(page) == shown


def test_stop_keeps_what_is_written_and_one_can_write_again(opened: Open, held_demo: tuple[str, Path]) -> None:
    address, hold = held_demo
    with opened(address=address) as page:
        whole = text(page)
        hold.touch()
        page.reload()
        expect(page.locator("#review [data-state=writing] .word:not(.given)").nth(2)).to_be_visible()
        kept = text(page)
        assert len(kept) < len(whole)
        assert whole.startswith(kept)
        # the server has stopped when it answers
        with page.expect_response("**/gradio_api/cancel"):
            page.locator("#review .stop").click()
        expect(page.locator("#review .status")).to_contain_text("Stopped after 3 words")
        look(page, "s")
        assert text(page) == kept
        page.locator("#write").click()
        expect(page.locator("#review .words")).to_contain_text("∎")
        assert text(page) == whole


def test_the_queue_position_is_shown_and_a_full_queue_reported(browser: Browser, held_demo: tuple[str, Path]) -> None:
    address, hold = held_demo
    program = client_of(address)
    with contextlib.closing(new_page(browser, locale="es-ES")) as page:
        page.goto(f"{address}/?{urlencode(LINK)}")
        written(page, 7)
        hold.touch()
        first = program.submit(api_name="/generate")
        # its first piece, so that the page's request comes second
        next(first)
        page.locator("#write").click()
        expect(page.locator("#review .status")).to_contain_text("número 1 de la cola")
        hold.unlink()
        first.result(PATIENCE)
        # the status of the first review is the same, so wait for the second one's seed
        expect(page.locator('#review .card[data-seed="7"]')).to_have_count(0)
        expect(page.locator('#review .card[data-state="written"]')).to_be_visible()
        expect(page.locator("#review .status")).to_contain_text("Escrita")
        hold.touch()
        jobs = [program.submit(api_name="/generate") for _ in range(2)]
        page.wait_for_function("async () => (await (await fetch('/gradio_api/queue/status')).json()).queue_size === 1")
        page.locator("#write").click()
        expect(page.get_by_test_id("toast-text")).to_contain_text("la cola está llena")
        expect(page.locator("#review .status")).to_contain_text("Escrita")
        hold.unlink()
        for job in jobs:
            job.result(PATIENCE)
        page.get_by_role("button", name="Otra más").click()
        expect(page.locator('#review .card[data-seed="7"]')).to_have_count(0)


def test_copies_are_the_text_and_the_link_to_it(opened: Open) -> None:
    link = {"prompt": HEADER, "model": "riesling", "temperature": 1.3, "top_p": 0.8, "length": 12, "seed": 99}
    with opened(link, permissions=["clipboard-read", "clipboard-write"]) as page:
        shown = text(page)
        assert copied(page, ".copy") == f"Wine Review : Italy : Tuscany : Riesling : {shown}"
        page.locator("#review .raw").check()
        assert copied(page, ".copy") == text(page).removeprefix("▸ ")
        shared = copied(page, ".link")
    found = dict(parse_qsl(urlsplit(shared).query))
    assert {key: found[key] for key in link} == {key: str(value) for key, value in link.items()}
    with opened(found) as page:
        assert text(page) == shown
        page.locator("#settings button").first.click()
        for label, value in (("Temperature", "1.3"), ("Top-p", "0.8"), ("Length, in words", "12"), ("Seed", "99")):
            field = page.locator("#settings").get_by_label(label)
            expect(field.and_(page.locator("[type=number]"))).to_have_value(value)
        expect(page.get_by_label("Model").first).to_have_value("Riesling")


def copied(page: Page, button: str) -> str:
    """Click a button; return what it puts into the clipboard."""
    clicked = page.locator(f"#review {button}")
    # noted, because the label is shown for a short time only
    clicked.evaluate(
        """button => {
             window.labels = [];
             new MutationObserver(() => labels.push(button.textContent)).observe(button, { childList: true });
           }"""
    )
    clicked.click()
    page.wait_for_function("labels.includes('Copied')")
    return str(page.evaluate("navigator.clipboard.readText()"))


def test_regions_narrow_and_write_the_prompt(opened: Open) -> None:
    with opened() as page:
        choose(page, "Country", "Germany")
        choose(page, "Province", "Mosel")
        choose(page, "Variety", "Riesling")
        expect(page.locator("#prompt textarea")).to_have_value("wine review : germany : mosel : riesling :")
        page.locator("#write").click()
        expect(page.locator("#review .eyebrow")).to_contain_text("Germany")


def test_tabbing_through_the_regions_keeps_them_and_the_prompt(opened: Open) -> None:
    with opened() as page:
        page.get_by_label("Country").focus()
        for _ in range(4):
            page.keyboard.press("Tab")
        page.get_by_label("Province").click()
        page.locator("h1").click()
        page.wait_for_load_state("networkidle")
        expect(page.get_by_label("Province")).to_have_value("Tuscany")
        expect(page.locator("#prompt textarea")).to_have_value(HEADER)


@pytest.mark.parametrize("language", ["constructor", "__proto__", "toString"])
def test_an_unknown_language_of_a_link_is_ignored(opened: Open, language: str) -> None:
    with opened({**LINK, "lang": language}) as page:
        expect(page.locator("html")).to_have_attribute("lang", "en")
        expect(page.locator("#write")).to_have_text("Write a review")


def choose(page: Page, label: str, option: str) -> None:
    page.get_by_label(label).click()
    page.get_by_role("option", name=option).click()
    expect(page.get_by_label(label)).to_have_value(option)


def test_the_explanation_shows_what_transformers_computes(
    opened: Open, toy_run: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    with opened() as page:
        look(page, "wine")
        before = page.locator("#review .word", has_text=re.compile("^wine$")).first
        position = int(before.get_attribute("data-position") or 0)
        page.locator("#review .raw").check()
        shown = page.locator("#review .word").all_inner_texts()[1:position]
        page.locator("#review .raw").uncheck()
        ids = tokenizer(" ".join(shown))["input_ids"]
        model = AutoModelForCausalLM.from_pretrained(toy_run, attn_implementation="eager").eval()
        with torch.no_grad():
            output = model(torch.tensor([ids]), output_attentions=True)
        logits = output.logits[0, -1].clone()
        logits[model.generation_config.suppress_tokens] = -torch.inf
        plain, tempered = logits.softmax(-1), (logits / 0.8).softmax(-1)
        bars = figures(page, ".bars")
        assert len(bars) == 10
        for word, probabilities in bars.items():
            index = tokenizer.eos_token_id if word == "the end of the text" else tokenizer.convert_tokens_to_ids(word)
            assert probabilities == pytest.approx([plain[index].item(), tempered[index].item()], abs=1.1e-3)
        page.locator("select.layer").select_option("0")
        page.locator("select.head").select_option("1")
        weights = output.attentions[0][0, 1, -1]
        expect(page.locator(".attended-words .figure").first).to_have_text(f"{100 * weights.max().item():.2f}%")
        page.locator("#review .word").nth(3).hover()
        weight = f"{100 * weights[3].item():.2f}% of the attention"
        expect(page.locator("#review .tip")).to_have_text(f":: {weight}")
        page.screenshot(path=SCREENSHOTS / "inside-desktop.png", full_page=True)


def test_the_keyboard_alone_steps_and_takes_another_word(opened: Open) -> None:
    with opened() as page:
        page.locator("#review .words button.word:not(.given)").first.focus()
        page.keyboard.press("ArrowRight")
        expect(page.locator(".explanation")).to_be_visible()
        first = page.locator(".chosen-word").inner_text()
        page.keyboard.press("ArrowRight")
        expect(page.locator(".chosen-word")).not_to_have_text(first)
        page.keyboard.press("ArrowLeft")
        expect(page.locator(".chosen-word")).to_have_text(first)
        page.keyboard.press("Shift+ArrowLeft")
        expect(page.locator("#review .tip")).to_contain_text("of the attention")
        expect(page.locator(".chosen-word")).to_have_text(first)
        page.keyboard.press("Escape")
        expect(page.locator(".explanation")).to_be_hidden()
        page.keyboard.press("End")
        expect(page.locator(".chosen-word")).to_have_text("the end of the text")
        look(page, "wine")
        other = page.locator(".bars button.bar").first
        taken = other.locator(".bar-word").inner_text()
        other.focus()
        page.keyboard.press("Enter")
        expect(page.locator("#prompt textarea")).to_have_value(re.compile(f"{re.escape(taken)}$"))
        expect(page.locator("#review .word.given").last).to_have_text(taken)
        expect(page.locator("#review .status")).to_contain_text("Written")


def test_base_and_adapter_side_by_side_mark_what_differs(opened: Open) -> None:
    with opened() as page:
        page.get_by_role("tab", name="Compare").click()
        page.get_by_role("button", name="Base and adapter").click()
        expect(page.locator("#pair .differ table")).to_have_count(2)
        expect(page.locator("#pair mark.word")).not_to_have_count(0)
        page.locator("#pair mark.word").first.hover()
        expect(page.locator("#pair .tip")).to_have_text(re.compile(r"This side: .*% · Other side: .*%"))
        page.screenshot(path=SCREENSHOTS / "compare-desktop.png", full_page=True)
        assert serious(page) == []


def test_writing_again_writes_another_review(opened: Open) -> None:
    with opened() as page:
        first = text(page)
        page.locator("#write").click()
        expect(page.locator('#review .card[data-seed="7"]')).to_have_count(0)
        expect(page.locator('#review .card[data-state="written"]')).to_be_visible()
        assert text(page) != first


@pytest.mark.parametrize("width", [320, 769, 900, 1024])
def test_the_charts_are_visible_and_the_page_fits_at_any_width(opened: Open, width: int) -> None:
    with opened({**LINK, "prompt": f"{HEADER} {'long' * 40}"}, viewport={"width": width, "height": 800}) as page:
        page.locator("#review .words button.word:not(.given)").first.click()
        expect(page.locator(".bars .both").first).to_be_visible()
        for chart in (".bars .both", ".attended-words .both"):
            assert page.locator(chart).first.evaluate("bar => bar.clientWidth") >= 40
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_phone_scrolls_to_the_review(opened: Open) -> None:
    with opened(viewport=PHONE) as page:
        page.locator("#write").click()
        page.wait_for_function("document.querySelector('#review .card').getBoundingClientRect().top < innerHeight / 2")


def test_markup_is_shown_and_never_run(opened: Open) -> None:
    prompt = "<img src=x onerror=document.title='run'> <script>document.title='run'</script> **bold** ${7*7} {{7*7}} `"
    with opened({**LINK, "prompt": prompt}) as page:
        expect(page.locator("#review .words")).to_contain_text(
            "<script>document.title='run'</script> **bold** ${7*7} {{7*7}} `"
        )
        expect(page.locator("#review .unknown-note")).to_contain_text("script")
        assert page.title() == "wine_gpt"
        assert page.locator("#review img, #review script").count() == 0


def test_an_error_is_shown_as_text(opened: Open) -> None:
    with opened() as page:
        page.locator("#prompt textarea").fill("a " * 100)
        page.locator("#write").click()
        expect(page.get_by_text("prompt: 100 words, at most 62 fit into the model")).to_be_visible()


@pytest.mark.parametrize("visitor", [{"locale": "es-ES"}, {"link": {**LINK, "lang": "es"}}])
def test_an_error_is_shown_in_the_language_of_the_page(opened: Open, visitor: dict[str, Any]) -> None:
    with opened(**visitor) as page:
        page.locator("#prompt textarea").fill("a " * 100)
        page.locator("#write").click()
        expect(page.get_by_text("comienzo: 100 palabras; en el modelo caben 62 como máximo")).to_be_visible()


def test_a_link_with_bad_settings_says_so(opened: Open) -> None:
    with opened({**LINK, "temperature": "hot", "lang": "es"}) as page:
        expect(page.get_by_text("Algunos ajustes del enlace no sirven y se han dejado fuera.")).to_be_visible()


def test_copied_spans_are_shown(opened: Open) -> None:
    with opened() as page:
        expect(page.locator(".copies-found")).to_have_text(re.compile(r"A run .* 216 .*: 12 of \d+ words"))
        expect(page.locator(".copies-error-rate")).to_contain_text("copied run of 23 words or more")
        assert page.locator("#review .word.copied").count() == 12


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("device", "viewport"), [("desktop", DESKTOP), ("phone", PHONE)])
def test_it_is_accessible_in_both_lights_and_widths(
    opened: Open, scheme: str, device: str, viewport: dict[str, int]
) -> None:
    with opened(color_scheme=scheme, viewport=viewport) as page:
        expect(page.locator("body.dark")).to_have_count(int(scheme == "dark"))
        page.locator("#settings button").first.click()
        look(page, "wine")
        page.screenshot(path=SCREENSHOTS / f"write-{device}-{scheme}.png", full_page=True)
        assert serious(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]


def test_the_page_is_in_spanish_for_a_spanish_browser(opened: Open) -> None:
    with opened(locale="es-ES") as page:
        expect(page.locator("html")).to_have_attribute("lang", "es")
        expect(page.get_by_role("tab", name="Comparar")).to_be_visible()
        expect(page.get_by_label("País")).to_be_visible()
        expect(page.get_by_role("button", name="Escribir una reseña")).to_be_visible()
        look(page, "wine")
        expect(page.locator("#review")).to_contain_text("Lo que podría haber aquí")
        expect(page.locator(".bars .figure").first).to_have_text(re.compile(r"\d,\d\s%"))
        page.get_by_role("link", name="English").click()
        expect(page.locator("html")).to_have_attribute("lang", "en")
        expect(page.get_by_role("tab", name="Compare")).to_be_visible()
        assert "seed=7" in page.url
