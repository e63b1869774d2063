"""The explorer's page in a browser: each view against what transformers computes."""

import functools
import json
import math
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import torch
from support.toy_model import train_toy
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel, PreTrainedTokenizerFast

pytest.importorskip("playwright", reason="playwright is not installed")
pytest.importorskip("axe_playwright_python", reason="axe is not installed")

from playwright.sync_api import Browser, Page, expect
from support.browser import CHROMIUM, DESKTOP, PHONE, launched, new_page, screenshot, serious, settle
from support.local_server import serving
from support.static_hub import StaticFiles

from wine_gpt.modeling.pretrained import load_model
from wine_gpt.tokenizer import load_tokenizer

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium")

EXPLORER = Path(__file__).parents[1] / "space" / "explorer"
LIBRARY = Path(__file__).parent / "javascript/node_modules/@huggingface/tokenizers/dist/tokenizers.min.mjs"
CDN = "https://cdn.jsdelivr.net/npm/@huggingface/tokenizers@0.2.0/dist/tokenizers.min.mjs"
needs_library = pytest.mark.skipif(
    not LIBRARY.is_file(), reason="needs npm install --ignore-scripts --prefix tests/javascript"
)
HEADER = "wine review : italy : tuscany : riesling :"
LINK = {"prompt": HEADER, "temperature": 0.8, "seed": 7}

Open = Callable[..., AbstractContextManager[Page]]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def site(demo_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """Serve the explorer with the toy model as a static Space does; return the folder and the address."""
    folder = tmp_path_factory.mktemp("site") / "explorer"
    shutil.copytree(EXPLORER, folder)
    (folder / "model").symlink_to(demo_model)
    (folder / "settings.json").write_text('{"model": "./model", "language": "en"}')
    with serving(StaticFiles({"/": folder})) as server:
        yield folder, server.address


@pytest.fixture(scope="module")
def opened(browser: Browser, site: tuple[Path, str]) -> Open:
    """Return a function that opens a link and checks the console and the requests at the end."""

    @contextmanager
    def open_page(
        link: dict[str, Any] = LINK,
        ready: bool = True,
        blocked: bool = False,
        library: bool = False,
        **context: Any,  # noqa: ANN401 - of playwright
    ) -> Iterator[Page]:
        page = new_page(browser, **{"viewport": DESKTOP, **context})
        if library:
            serve_library(page)
        wrong: list[str] = []
        asked: list[str] = []
        told = functools.partial(errors, blocked=blocked)
        # a model may lack files that the page asks for, such as its template
        page.on("console", lambda message: wrong.extend(told(message.text) if message.type == "error" else ()))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: asked.extend(foreign(request.url, site[1])))
        page.goto(f"{site[1]}/?{urlencode(link)}")
        if ready:
            written(page)
        yield page
        assert wrong == []
        assert asked == ([CDN] if library else [])
        page.context.close()

    return open_page


def serve_library(page: Page) -> None:
    """Answer for the CDN with the real package, and let a test move the page's clock."""
    headers = {"Access-Control-Allow-Origin": "*"}
    content = LIBRARY.read_text()
    page.context.route(CDN, lambda route: route.fulfill(body=content, content_type="text/javascript", headers=headers))
    page.clock.install()


def errors(message: str, blocked: bool) -> list[str]:
    """Return an error of the console, unless it is of a missing file, or of a request that the policy blocks."""
    return [] if "404" in message or (blocked and "Content Security Policy" in message) else [message]


def foreign(url: str, site: str) -> list[str]:
    return [url] if url.startswith(("http", "ws")) and not url.startswith(site) else []


def written(page: Page) -> None:
    """Wait until the text is complete."""
    expect(page.locator(".text-card[data-state=written] .word").nth(1)).to_be_visible()


def link_of(page: Page) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(page.url).query))


def text(page: Page) -> str:
    settle(page)
    return " ".join(page.locator(".words").inner_text().split())


def ids_of(page: Page, tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """Return the text's tokens, from the words as the model sees them."""
    page.locator(".raw").check()
    settle(page)
    labels = page.locator(".words .word").all_inner_texts()[1:]
    page.locator(".raw").uncheck()
    ids = tokenizer.convert_tokens_to_ids(["[BOS]", *("[EOS]" if each == "∎" else each for each in labels)])
    assert isinstance(ids, list)
    return ids


def copied(page: Page, button: str) -> str:
    """Press a button that copies; return what is on the clipboard."""
    # the button says so for 1.5 seconds only
    page.evaluate("() => { window.setTimeout = () => 0; }")
    page.get_by_role("button", name=button).click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    return str(page.evaluate("navigator.clipboard.readText()"))


def look(page: Page, word: str) -> int:
    """Choose the first such word; return its position."""
    button = page.locator(".words button.word", has_text=re.compile(f"^{word}$")).first
    button.click()
    expect(page.locator(".panel:visible .chosen-word")).to_have_text(re.compile(f"^[“«]{word}[”»]$"))
    return int(button.get_attribute("data-position") or 0)


def figures(page: Page, rows: str) -> dict[str, list[str]]:
    """Return the figures of a list by word."""
    settle(page)
    return {
        row.locator(".bar-word").inner_text(): row.locator(".figure").all_inner_texts()
        for row in page.locator(rows).all()
    }


def fraction(figure: str) -> float:
    return 0.0 if figure == "cut" else float(figure.replace("<\u2009", "").rstrip("%")) / 100


@pytest.fixture(scope="module")
def eager(toy_run: Path) -> PreTrainedModel:
    """Return the toy model with an attention that returns its weights."""
    from wine_gpt.modeling.pretrained import load_model

    model = load_model(toy_run)
    model.set_attn_implementation("eager")
    return model


def compute(model: PreTrainedModel, ids: list[int]) -> Any:  # noqa: ANN401 - of transformers
    """Return what transformers computes for a text."""
    with torch.no_grad():
        return model(torch.tensor([ids]), output_attentions=True, output_hidden_states=True)


def test_a_link_writes_the_text_that_it_was_made_from(opened: Open) -> None:
    with opened() as page:
        first = text(page)
        assert first.startswith("It's a")
        assert page.locator(".eyebrow").inner_text().replace(" ", "") == "▸WineReview·Italy·Tuscany·Riesling·"
        page.get_by_role("button", name="Write a text").click()
        expect(page).not_to_have_url(re.compile("seed=7(&|$)"))
        written(page)
        link, shown = link_of(page), text(page)
        assert shown != first
        page.locator(".raw").check()
        assert text(page).startswith("▸ wine review : italy : tuscany : riesling : it ' s a")
    with opened(link) as page:
        assert text(page) == shown
        page.locator(".surprise").check()
        expect(page).to_have_url(re.compile("surprise=1"))
        assert link_of(page) == {**link, "surprise": "1"}
    with opened({**LINK, "temperature": "hot", "tab": "__proto__", "ids": "1.x"}) as page:
        expect(page.get_by_role("alert")).to_have_text(
            "The link has invalid settings, which are ignored: temperature, tab, ids."
        )
        page.goto(f"{page.url.split('?')[0]}?ids=999999.20.30")
        expect(page.get_by_role("alert")).to_have_text("The link has invalid settings, which are ignored: ids.")


def test_a_slider_that_is_dragged_leaves_one_link(opened: Open) -> None:
    with opened() as page:
        page.locator(".words .word:not(.given)").first.click()
        expect(page).to_have_url(re.compile("word="))
        # as Safari, which allows 100 changes of the address in 30 seconds
        page.evaluate("""() => {
            let left = 3;
            const replace = history.replaceState.bind(history);
            history.replaceState = (...args) => {
                if (!left--) throw new DOMException("too many changes of the address", "SecurityError");
                replace(...args);
            };
            const slider = document.querySelector("input.temperature");
            for (let step = 0; step <= 30; step++) {
                slider.value = step / 20;
                slider.dispatchEvent(new Event("input"));
            }
        }""")
        expect(page.locator(".temperature-value")).to_have_text("1.5")
        expect(page).to_have_url(re.compile("temperature=1.5&"))
        expect(page.get_by_role("alert")).to_be_hidden()


def test_words_come_one_at_a_time_and_the_link_keeps_them(opened: Open) -> None:
    with opened({**LINK, "length": 3}, permissions=["clipboard-read", "clipboard-write"]) as page:
        expect(page.locator(".status")).to_contain_text("Words written: 3. The text is cut here")
        page.get_by_role("button", name="Next word").click()
        expect(page.locator(".words .word")).to_have_count(4)
        expect(page.locator("[data-view=next] .chosen-word")).to_be_visible()
        # the next word is the one that the seed gives to a longer text
        with opened({**LINK, "length": 4}) as longer:
            assert text(page) == text(longer)
        page.locator(".wide-pane button.bar").nth(1).focus()
        taken = page.locator(".wide-pane button.bar .bar-word").nth(1).inner_text()
        page.keyboard.press("Enter")
        expect(page.locator("[data-view=next] .chosen-word")).to_have_text(f"“{taken}”")
        expect(page.locator("[data-view=next] .chosen-word")).to_be_focused()
        expect(page.locator(".number-line")).to_contain_text("You took this word.")
        page.get_by_role("button", name="Draw again").click()
        expect(page.locator(".number-line")).to_contain_text("fell on")
        page.get_by_role("button", name="Next word").click()
        expect(page.locator(".words .word")).to_have_count(5)
        shown = text(page)
        shared = dict(parse_qsl(urlsplit(copied(page, "Copy link")).query))
    with opened(shared) as page:
        assert text(page) == shown
        expect(page.locator(".word.chosen")).to_have_attribute("data-position", shared["word"])


def test_a_copied_text_has_colons_in_its_header_only(opened: Open) -> None:
    prompt = f"{HEADER} a cel·ler wine"
    with opened({**LINK, "prompt": prompt}, permissions=["clipboard-read", "clipboard-write"]) as page:
        expect(page.locator(".eyebrow")).to_contain_text("Riesling ·")
        header = "Wine Review: Italy: Tuscany: Riesling: a cel·ler wine"
        assert copied(page, "Copy text").replace(" :", ":").startswith(header)


def test_a_new_word_leaves_the_older_ones_as_they_are(opened: Open) -> None:
    with opened({**LINK, "length": 5}) as page:
        page.wait_for_function("() => document.getAnimations().every(({ playState }) => playState === 'finished')")
        page.evaluate("""() => {
            const isFading = (word) => word.getAnimations().some(({ playState }) => playState !== "finished");
            const older = [...document.querySelectorAll(".words .word")];
            window.fading = [];
            new MutationObserver(() => fading.push(older.filter(isFading).length)).observe(
                document.querySelector(".text-card"), { attributeFilter: ["data-state"] },
            );
        }""")
        page.get_by_role("button", name="Next word").click()
        page.wait_for_function("() => fading.length > 1")
        assert set(page.evaluate("fading")) == {0}


def test_the_bars_are_the_distribution_of_transformers_with_the_sliders_settings(
    opened: Open, tokenizer: PreTrainedTokenizerFast, eager: PreTrainedModel
) -> None:
    with opened() as page:
        ids = ids_of(page, tokenizer)
        position = look(page, "wine")
        logits = compute(eager, ids).logits[0, position - 1]
        logits[eager.generation_config.suppress_tokens] = -torch.inf
        for temperature, top_k, top_p in ((0.8, 0, 1.0), (1.5, 5, 1.0), (1.7, 0, 0.6)):
            for name, value in (("Temperature", temperature), ("Top-k", top_k), ("Top-p", top_p)):
                page.get_by_role("slider", name=name).fill(str(value))
            expected = (logits / temperature).softmax(-1)
            order = expected.argsort(descending=True)
            kept = top_k or int((expected[order].cumsum(0) < top_p).sum()) + 1
            shown = figures(page, ".wide-pane .bars li:not(.rest)")
            assert len(shown) == 10
            for rank, (word, (before, after)) in enumerate(shown.items()):
                index = tokenizer.eos_token_id if word == "end of the text" else tokenizer.convert_tokens_to_ids(word)
                assert fraction(before) == pytest.approx(logits.softmax(-1)[index].item(), abs=1.1e-3)
                share = expected[index] / expected[order[:kept]].sum() if rank < kept else torch.tensor(0.0)
                assert (after == "cut") == (rank >= kept)
                assert fraction(after) == pytest.approx(share.item(), abs=1.1e-3)
        page.locator(".draw-hundred").click()
        counts = [int(row[-1].rstrip("×")) for row in figures(page, ".wide-pane .bars li").values()]
        assert sum(counts) == 100
        assert counts[0] > 0
        assert not any(counts[kept:])


def test_a_low_temperature_leaves_each_word_its_rank_and_its_probability_before_it(
    opened: Open, tokenizer: PreTrainedTokenizerFast, eager: PreTrainedModel
) -> None:
    prompt = f"{HEADER} it's a light-bodied, crisp wine with oak"
    with opened({**LINK, "prompt": prompt, "temperature": 0.05}) as page:
        ids = ids_of(page, tokenizer)
        position = look(page, "oak")
        logits = compute(eager, ids).logits[0, position - 1]
        logits[eager.generation_config.suppress_tokens] = -torch.inf
        expected, own = logits.softmax(-1), ids[position]
        rank = int((expected > expected[own]).sum()) + 1
        expect(page.locator(".chosen-probability")).to_have_text(
            f"{shown(expected[own].item())} before temperature · 0.0% with these settings · rank {rank} of all words"
        )
        # float32 has probability 0 for most of these at that temperature
        best = expected.topk(10)
        names = [each.replace("[EOS]", "end of the text") for each in tokenizer.convert_ids_to_tokens(best.indices)]
        found = figures(page, ".wide-pane .bars li:not(.rest)")
        assert {name: before for name, (before, _) in found.items() if name in names} == dict(
            zip(names, map(shown, best.values.tolist()), strict=True)
        )


def test_the_drawn_number_falls_on_the_word_that_came_out(opened: Open) -> None:
    with opened({**LINK, "temperature": 1.5}) as page:
        page.locator(".words .word:not(.given)").first.click()
        for _ in range(6):
            settle(page)
            chosen = page.locator("[data-view=next] .chosen-word").inner_text()
            expect(page.locator(".number-line")).to_contain_text(f"fell on {chosen}.")
            marker, own = (page.locator(f".cumulative {each}").bounding_box() for each in ("b", "i.own"))
            assert marker is not None
            assert own is not None
            assert own["x"] - 2 <= marker["x"] + 1 <= own["x"] + own["width"] + 2
            page.get_by_role("button", name="Word after").click()
            expect(page.locator("[data-view=next] .chosen-word")).not_to_have_text(chosen)
        page.get_by_role("slider", name="Temperature").fill("0")
        expect(page.locator(".number-line")).to_contain_text("At temperature 0 no number is drawn")


def test_a_link_without_a_seed_has_words_whose_numbers_are_not_known(opened: Open) -> None:
    with opened() as page:
        page.get_by_role("button", name="Draw again").click()
        expect(page).to_have_url(re.compile("ids="))
        link = link_of(page)
    del link["seed"]
    with opened(link) as page:
        # a reload must not make them up, either
        for _ in range(2):
            expect(page.locator(".number-line")).to_have_text("This word came with the link; its number is not known.")
            expect(page.locator(".cumulative i.own")).to_be_visible()
            expect(page.locator(".cumulative b")).to_have_count(0)
            page.locator(".surprise").check()
            expect(page).to_have_url(re.compile("surprise=1"))
            page.reload()
            written(page)
        page.get_by_role("button", name="Draw again").click()
        expect(page.locator(".number-line")).to_contain_text("fell on")
        expect(page.locator(".cumulative b")).to_be_visible()


def test_the_attention_is_that_of_transformers(
    opened: Open, tokenizer: PreTrainedTokenizerFast, eager: PreTrainedModel
) -> None:
    with opened() as page:
        attentions = compute(eager, ids_of(page, tokenizer)).attentions
        position = look(page, "wine")
        mean = torch.cat(list(attentions)).mean(dim=(0, 1))[position - 1, :position]
        expect(page.locator(".attended .figure").first).to_have_text(f"{100 * mean.max().item():.1f}%")
        page.locator("[data-view=next]").get_by_label("Layer").select_option("0")
        page.locator("[data-view=next]").get_by_label("Head").select_option("1")
        weights = attentions[0][0, 1, position - 1]
        expect(page.locator(".attended .figure").first).to_have_text(f"{100 * weights.max().item():.1f}%")
        page.locator(".word").nth(3).hover()
        expect(page.locator(".text-card .tip")).to_have_text(f":: {100 * weights[3].item():.1f}% of the attention")
        expect(page).to_have_url(re.compile("layer=0&head=1"))


def test_the_surprise_is_that_of_transformers(
    opened: Open, tokenizer: PreTrainedTokenizerFast, eager: PreTrainedModel
) -> None:
    with opened({**LINK, "surprise": 1}) as page:
        ids = ids_of(page, tokenizer)
        nats = nats_of(eager, ids)
        mean = nats[page.locator(".word.given").count() - 1 :].mean().item()
        expect(page.locator(".surprise-legend")).to_contain_text(f"Mean: {mean:.2f} nats")
        page.locator(".words .word").last.hover()
        expect(page.locator(".text-card .tip")).to_contain_text(f"end of the text: {nats[-1].item():.2f} nats")


def nats_of(model: PreTrainedModel, ids: list[int]) -> torch.Tensor:
    """Return the surprise of each token after the first."""
    logits = compute(model, ids).logits[0, :-1]
    return torch.nn.functional.cross_entropy(logits, torch.tensor(ids[1:]), reduction="none")


def test_the_lens_is_the_final_norm_and_head_on_each_residual(
    opened: Open, tokenizer: PreTrainedTokenizerFast, eager: PreTrainedModel
) -> None:
    with opened({**LINK, "tab": "lens"}) as page:
        ids = ids_of(page, tokenizer)
        position = look(page, "wine")
        # the last of transformers' hidden states is normalized already
        hidden = compute(eager, ids).hidden_states
        with torch.no_grad():
            rows = [*(eager.transformer.ln_f(each) for each in hidden[:-1]), hidden[-1]]
            logits = torch.stack([eager.lm_head(each[0, position - 1]) for each in rows])
        logits[:, eager.generation_config.suppress_tokens] = -torch.inf
        for row, probabilities in zip(page.locator(".lens tbody tr").all(), logits.softmax(-1), strict=True):
            best = probabilities.topk(5)
            expected = [
                f"{label} {shown(value)}"
                for label, value in zip(
                    tokenizer.convert_ids_to_tokens(best.indices), best.values.tolist(), strict=True
                )
            ]
            expect(row.locator(".lens-word")).to_have_text(
                [each.replace("[EOS]", "end of the text") for each in expected]
            )
            expect(row.locator(".figure")).to_have_text(shown(probabilities[ids[position]].item()))


def shown(value: float) -> str:
    """Return a probability as the page shows it."""
    return "<\u20090.1%" if 0 < value < 0.0005 else f"{100 * value:.1f}%"


def test_a_head_that_is_off_changes_the_surprise_as_in_transformers(
    opened: Open, tokenizer: PreTrainedTokenizerFast, eager: PreTrainedModel
) -> None:
    with opened({**LINK, "tab": "heads"}) as page:
        ids, given = ids_of(page, tokenizer), page.locator(".word.given").count()
        before, first = nats_of(eager, ids)[given - 1 :].mean().item(), text(page)
        expect(page.locator(".head-loss")).to_contain_text(f"{before:.3f} nats per word")
        page.get_by_role("button", name="Layer 1, head 0").click()
        page.get_by_role("button", name="Switch this head off").click()
        with head_off(eager, 1, 0):
            after = nats_of(eager, ids)[given - 1 :].mean().item()
        expect(page.locator(".head-loss")).to_contain_text(
            f"{after:.3f} now ({after - before:+.3f})".replace("-", "−")
        )
        page.get_by_role("button", name="Measure every head").click()
        effect = page.locator('[data-key="1.0"] .head-effect')
        expect(effect).to_have_text(f"{after - before:+.3f}".replace("-", "−"))
        expect(page.locator('[data-key="1.1"] .head-effect')).not_to_be_empty()
        expect(page).to_have_url(re.compile("off=1.0"))
        page.reload()
        written(page)
        assert text(page) == first
        page.get_by_role("button", name="Write again with these heads").click()
        expect(page).not_to_have_url(re.compile("ids="))
        with head_off(eager, 1, 0):
            rewritten = ids_of(page, tokenizer)
            loss = nats_of(eager, rewritten)[given - 1 :].mean().item()
        expect(page.locator(".head-loss")).to_contain_text(f"{loss:.3f} now")


def test_another_head_is_shown_without_painting_all_heads_again(opened: Open) -> None:
    with opened({**LINK, "tab": "heads", "layer": 0, "head": 0}) as page:
        first, other = (page.get_by_role("button", name=f"Layer {layer}, head 0") for layer in (0, 1))
        expect(first).to_have_attribute("aria-pressed", "true")
        painted = page.locator(".head-grid canvas").first.element_handle()
        other.click()
        expect(page.locator(".head-name")).to_have_text("Layer 1, head 0")
        expect(other).to_have_attribute("aria-pressed", "true")
        expect(first).to_have_attribute("aria-pressed", "false")
        assert painted is not None
        assert painted.evaluate("canvas => canvas.isConnected")


@contextmanager
def head_off(model: PreTrainedModel, layer: int, head: int) -> Iterator[None]:
    """Replace a head's output by zeros."""
    width = model.config.n_embd // model.config.n_head

    def without(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        heads = inputs[0].clone()
        heads[..., head * width : (head + 1) * width] = 0
        return (heads,)

    hook = model.transformer.h[layer].attn.c_proj.register_forward_pre_hook(without)
    yield
    hook.remove()


def test_query_and_key_give_the_attention_of_transformers(
    opened: Open, tokenizer: PreTrainedTokenizerFast, eager: PreTrainedModel
) -> None:
    with opened({**LINK, "tab": "scores", "layer": 1, "head": 1}) as page:
        ids = ids_of(page, tokenizer)
        page.get_by_label("The word that looks").select_option("12")
        page.get_by_label("The word that is looked at").select_option("5")
        block = eager.transformer.h[1]
        output = compute(eager, ids)
        with torch.no_grad():
            query, key, _ = block.attn.c_attn(block.ln_1(output.hidden_states[1][0])).split(32, dim=-1)
        products = query[12, 16:] * key[5, 16:]
        expect(page.locator(".vectors tr").nth(2).locator("td")).to_have_text(
            [f"{each:z.2f}" for each in products.tolist()]
        )
        steps = page.locator(".score-steps")
        expect(steps).to_contain_text(f"The sum of the products is {products.sum().item():z.3f}.")
        expect(steps).to_contain_text(f"Times 0.2500 it is the score {products.sum().item() / 4:z.3f}")
        weights = output.attentions[1][0, 1, 12]
        expect(steps).to_contain_text(f"is the weight {shown(weights[5].item())}.")
        rows = page.locator(".score-row tr")
        expect(rows.nth(5).locator(".figure").last).to_have_text(shown(weights[5].item()))
        expect(rows.nth(13).locator(".figure")).to_have_text(["−∞", "0.0%"])


def test_a_guess_is_scored_against_the_model(
    opened: Open, tokenizer: PreTrainedTokenizerFast, eager: PreTrainedModel
) -> None:
    with opened({**LINK, "tab": "guess"}) as page:
        ids, position = ids_of(page, tokenizer), page.locator(".word.given").count()
        page.get_by_role("button", name="Start guessing").click()
        expect(page.locator(".words")).to_have_text(re.compile(r"^\W*\?\s*$"))
        expect(page.get_by_role("button", name="Copy text")).to_be_disabled()
        page.get_by_label("How sure are you?").select_option("0.9")
        answer = tokenizer.convert_ids_to_tokens(ids[position])
        settle(page)
        choices = page.locator("button.choice").all_inner_texts()
        assert len(set(choices)) == 5
        page.locator("button.choice", has_text=re.compile(f"^{answer}$")).click()
        probabilities = compute(eager, ids).logits[0, position - 1].softmax(-1)
        five = probabilities[
            tokenizer.convert_tokens_to_ids([each.replace("end of the text", "[EOS]") for each in choices])
        ]
        own, blind = -math.log(0.9), math.log(5)
        nats = -math.log(probabilities[ids[position]] / five.sum())
        expect(page.locator(".verdict")).to_contain_text(
            f"Your surprise: {own:.2f} nats; the model's among the five: {nats:.2f}"
        )
        expect(page.locator(".scores")).to_contain_text(
            f"Right: 1 of 1. Mean surprise: you {own:.2f} nats, the model {nats:.2f}"
        )
        expect(page.locator(".scores")).to_contain_text(f"blind guessing {blind:.2f}")
        page.get_by_role("button", name="Next guess").click()
        wrong = tokenizer.convert_ids_to_tokens(ids[position + 1])
        page.locator("button.choice", has_not_text=re.compile(f"^{re.escape(wrong)}$")).first.click()
        expect(page.locator(".verdict")).to_contain_text(f"It was “{wrong}”.")
        page.get_by_role("tab", name="Heads").click()
        expect(page.locator(".words")).to_contain_text("∎")


def test_the_word_map_has_the_nearest_words_and_the_principal_components(
    opened: Open, eager: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    with opened({**LINK, "tab": "map"}) as page:
        page.get_by_label("Word", exact=True).fill("plum")
        page.get_by_role("button", name="Show", exact=True).click()
        expect(page.locator(".nearest-line")).to_contain_text("Nearest to “plum”")
        rows = torch.nn.functional.normalize(eager.transformer.wte.weight.detach(), dim=-1)
        best = (rows @ rows[tokenizer.convert_tokens_to_ids("plum")]).topk(11)
        names = [
            each.replace("[EOS]", "end of the text") for each in tokenizer.convert_ids_to_tokens(best.indices[1:])
        ]
        expect(page.locator(".nearest .bar-word")).to_have_text(names)
        expect(page.locator(".nearest .figure")).to_have_text([f"{each:z.2f}" for each in best.values[1:].tolist()])
        page.get_by_role("button", name="Fruits").click()
        expect(page.get_by_role("button", name="Fruits")).to_have_attribute("aria-pressed", "true")
        page.get_by_label("Word", exact=True).fill("<b>")
        page.get_by_label("Word", exact=True).press("Enter")
        expect(page.locator(".nearest-line")).to_contain_text("no word “<b>”")
        sample = torch.randn(30, 6, generator=torch.Generator().manual_seed(0)) * torch.tensor([5.0, 3.0, 1, 1, 1, 1])
        script = """async rows => {
          const { principalPlane, project } = await import("/page/projection.js");
          const flat = Float32Array.from(rows.flat());
          return project(flat, principalPlane(flat, rows[0].length));
        }"""
        found = torch.tensor(page.evaluate(script, sample.tolist()))
        left, values, _ = torch.linalg.svd(sample - sample.mean(dim=0), full_matrices=False)
        torch.testing.assert_close(found.abs(), (left[:, :2] * values[:2]).abs(), atol=1e-3, rtol=1e-3)


def test_the_word_map_keeps_the_focus_of_the_keyboard_and_another_model_has_no_marked_group(opened: Open) -> None:
    with opened({**LINK, "tab": "map"}) as page:
        group = page.get_by_role("button", name="Grapes")
        group.focus()
        for pressed in ("true", "false"):
            page.keyboard.press("Enter")
            expect(group).to_have_attribute("aria-pressed", pressed)
            expect(group).to_be_focused()
        row = page.locator(".nearest button").nth(2)
        word = row.locator(".bar-word").inner_text()
        row.focus()
        page.keyboard.press("Enter")
        expect(page.locator(".nearest-line")).to_contain_text(f"Nearest to “{word}”")
        expect(page.locator(".nearest button").first).to_be_focused()
        group.click()
        expect(group).to_have_attribute("aria-pressed", "true")
        load(page, "./model/")
        expect(group).to_have_attribute("aria-pressed", "false")


def test_copied_spans_are_those_of_the_index_in_what_the_model_wrote(
    opened: Open, tokenizer: PreTrainedTokenizerFast, demo_model: Path
) -> None:
    from wine_gpt.evaluation.ngram_filter import FILE_NAME, NgramFilter

    with opened({**LINK, "temperature": 0}) as page:
        words = tokenizer.convert_ids_to_tokens(ids_of(page, tokenizer)[page.locator(".word.given").count() : -1])
        length = len(NgramFilter.load(demo_model / FILE_NAME).longest_span(words))
        assert length > 0
        expect(page.locator(".copies-found")).to_contain_text(
            f"216 training texts: {length} of the {len(words)} words"
        )
        expect(page.locator(".word.copied")).to_have_count(length)
        whole = " ".join([*HEADER.split(), *words])
    # a visitor may type a training text
    with opened({**LINK, "prompt": whole}) as page:
        expect(page.locator(".word.given")).not_to_have_count(0)
        expect(page.locator(".word.copied")).to_have_count(0)


def test_the_models_own_view_of_the_words_moves_neither_the_copy_check_nor_the_guesses(opened: Open) -> None:
    # the model writes most of the header
    with opened({**LINK, "prompt": "wine review", "temperature": 0, "tab": "guess"}) as page:
        found, hidden = page.locator(".copies-found"), page.locator("span.word", has_text=re.compile(r"^\?$"))
        expect(found).to_contain_text("216 training texts")
        said = found.inner_text()
        page.get_by_role("button", name="Start guessing").click()
        expect(hidden).to_have_count(1)
        position = hidden.get_attribute("data-position")
        page.get_by_role("button", name="Show the whole text").click()
        page.locator(".raw").check()
        expect(found).to_have_text(said)
        page.get_by_role("button", name="Start guessing").click()
        expect(hidden).to_have_attribute("data-position", str(position))


def test_copied_spans_are_found_across_lines(opened: Open, site: tuple[Path, str], lines_model: Path) -> None:
    (site[0] / "lines").symlink_to(lines_model)
    with opened({**LINK, "model": "./lines/", "temperature": 0}) as page:
        expect(page.locator(".copies-found")).to_contain_text("216 training texts: 12 of the 22 words")
        # the line break is in the span, but it is no word
        span = ["It", "'", "s", "a", "light", "-", "bodied", ",", "crisp", "⏎", "wine", "with", "plum"]
        expect(page.locator(".word.copied")).to_have_text(span)


def test_the_tour_shows_each_step_on_the_live_model(opened: Open) -> None:
    with opened(viewport=PHONE) as page:
        page.get_by_role("button", name="Take the tour").click()
        tour = page.get_by_role("region", name="Tour", exact=True)
        shown = []
        for step in range(1, 9):
            expect(tour.get_by_role("heading")).to_contain_text(f"{step} of 8: ")
            expect(tour.get_by_role("heading")).to_be_focused()
            expect(tour).to_contain_text("In the class's notebook: ")
            shown.append(page.get_by_role("tab", selected=True).get_attribute("data-tab"))
            if step == 4:
                screenshot(page, "tour-phone-light", full_page=False)
                assert serious(page, ".tour") == []
            settle(page)
            tour.get_by_role("button", name="Next" if step < 8 else "Finish").click()
        assert shown == ["next", "map", "scores", "heads", "lens", "next", "next", "guess"]
        expect(tour).to_be_hidden()
        expect(page.get_by_role("button", name="Take the tour")).to_be_focused()


def test_two_temperatures_and_two_models_are_compared(
    opened: Open, eager: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    with opened({**LINK, "tab": "compare", "length": 12}) as page:
        first = text(page)
        page.locator(".left-temperature").fill("0.8")
        page.locator(".right-temperature").fill("2")
        page.get_by_role("button", name="Write both").click()
        expect(page.locator(".right-text")).not_to_be_empty()
        # the same seed and settings give the page's own text
        left = " ".join(page.locator(".left-text").inner_text().split())
        assert left.endswith(first)
        row = page.locator(".left-differ tbody tr").first
        word, (own, other) = (
            row.locator("th").inner_text(),
            (fraction(each) for each in row.locator("td").all_inner_texts()),
        )
        ids = [*tokenizer(HEADER)["input_ids"], *tokenizer(first)["input_ids"][1:]]
        logits = compute(eager, ids).logits[0, :-1]
        logits[:, eager.generation_config.suppress_tokens] = -torch.inf
        pairs = [
            ((logits[at] / 0.8).softmax(-1)[ids[at + 1]].item(), (logits[at] / 2).softmax(-1)[ids[at + 1]].item())
            for at in range(len(ids) - 13, len(ids) - 1)
            if tokenizer.convert_ids_to_tokens(ids[at + 1]) == word
        ]
        assert any((own, other) == pytest.approx(pair, abs=1.1e-3) for pair in pairs)
        page.get_by_label("Model, if it is another one").fill("no model")
        page.get_by_role("button", name="Write both").click()
        expect(page.locator(".compare-status")).to_contain_text("“no model” is no model")
        page.get_by_label("Model, if it is another one").fill("./model/")
        page.locator(".right-temperature").fill("0.8")
        page.get_by_role("button", name="Write both").click()
        expect(page.locator(".right-differ")).to_be_hidden()
        expect(page.locator(".compare-status")).to_be_empty()
        assert page.locator(".right-text").inner_text() == page.locator(".left-text").inner_text()


def test_another_model_ends_a_comparison(opened: Open) -> None:
    with opened({**LINK, "tab": "compare"}) as page:
        page.route("**/held/**", lambda _: None)
        page.get_by_label("Model, if it is another one").fill("./held/")
        page.get_by_role("button", name="Write both").click()
        expect(page.locator(".compare-status")).to_have_text("Loading ./held/ …")
        load(page, "./model/")
        expect(page.locator(".compare-status")).to_be_empty()
        expect(page.locator(".stop-both")).to_be_hidden()


def test_another_model_begins_a_new_comparison(opened: Open) -> None:
    with opened({**LINK, "tab": "compare", "length": 3}) as page:
        page.locator(".right-temperature").fill("2")
        page.get_by_role("button", name="Write both").click()
        expect(page.locator(".right-text")).not_to_be_empty()
        expect(page.locator(".right-differ")).to_be_visible()
        load(page, "./model/")
        for side in ("left", "right"):
            expect(page.locator(f".{side}-text")).to_be_empty()
            expect(page.locator(f".{side}-differ")).to_be_hidden()
            # what the new model's own text begins with
            expect(page.locator(f".{side}-prompt")).to_have_value("wine review :")


def name_model(page: Page, name: str) -> None:
    """Type the name of another model."""
    page.get_by_text("Another model").click()
    page.get_by_label("Name on the Hub, or address").fill(name)


def load(page: Page, name: str) -> None:
    """Open another model."""
    name_model(page, name)
    page.get_by_role("button", name="Load").click()


def test_a_compared_text_has_the_space_after_an_unknown_word(opened: Open) -> None:
    with opened({"prompt": "it's a light-blorp", "temperature": 0, "length": 3, "tab": "compare"}) as page:
        line = "it's a light-blorp riesling : it"
        expect(page.locator(".words")).to_contain_text(line)
        page.locator(".left-temperature").fill("0")
        page.get_by_role("button", name="Write both").click()
        expect(page.locator(".left-text")).to_contain_text(line)


def test_a_text_with_too_many_inner_values_is_one_line_when_heads_are_measured(
    opened: Open, site: tuple[Path, str]
) -> None:
    torch.manual_seed(0)
    shape = GPT2Config(vocab_size=20, n_positions=1600, n_embd=64, n_head=64, n_layer=1)
    GPT2LMHeadModel(shape).save_pretrained(site[0] / "long")
    with opened({"model": "./long/", "prompt": "1 " * 1500, "length": 1, "tab": "heads"}) as page:
        line = "the inner values of 1501 tokens take 579 MB: choose a shorter text"
        expect(page.get_by_role("alert")).to_have_text(line)
        page.get_by_role("button", name="Measure every head").click()
        settle(page)
        expect(page.get_by_role("alert")).to_have_text(line)


def test_a_model_that_is_replaced_while_its_heads_are_measured_is_no_error(opened: Open) -> None:
    with opened({**LINK, "tab": "heads"}) as page:
        page.route("**/held/**", lambda _: None)
        name_model(page, "./held/")
        # at once, so that the model is closed before it answers
        page.evaluate("""() => {
            document.querySelector(".measure").click();
            document.querySelector(".other-model form").requestSubmit();
        }""")
        expect(page.locator(".loading-line")).to_contain_text("/held/ …")
        expect(page.get_by_role("alert")).to_be_hidden()


def test_a_model_that_is_replaced_while_a_text_begins_is_no_error(opened: Open) -> None:
    with opened() as page:
        page.route("**/held/**", lambda _: None)
        name_model(page, "./held/")
        # at once, so that the model is closed before it has read the prompt
        page.evaluate("""() => {
            document.querySelector(".controls > form").requestSubmit();
            document.querySelector(".other-model form").requestSubmit();
        }""")
        expect(page.locator(".loading-line")).to_contain_text("/held/ …")
        expect(page.get_by_role("alert")).to_be_hidden()


def test_a_slider_that_is_moved_while_a_text_begins_stays_where_it_is(opened: Open) -> None:
    with opened() as page:
        page.evaluate("""() => {
            document.querySelector(".controls > form").requestSubmit();
            const slider = document.querySelector("input.temperature");
            slider.value = 1.5;
            slider.dispatchEvent(new Event("input"));
        }""")
        expect(page).not_to_have_url(re.compile("seed=7(&|$)"))
        written(page)
        page.locator(".words .word:not(.given)").first.click()
        expect(page.locator(".temperature-value")).to_have_text("1.5")
        expect(page).to_have_url(re.compile("temperature=1.5&"))


def test_the_next_word_of_a_refused_prompt_leaves_the_text_as_it_is(opened: Open) -> None:
    with opened({**LINK, "length": 3}) as page:
        page.locator(".prompt").fill("a " * 100)
        page.get_by_role("button", name="Next word").click()
        expect(page.get_by_role("alert")).to_contain_text("the text has 101 tokens")
        expect(page.locator(".word.chosen")).to_have_count(0)
        # a change that is in the address
        page.locator(".surprise").check()
        expect(page).to_have_url(re.compile("surprise=1"))
        assert "ids" not in link_of(page)


@pytest.mark.parametrize(
    ("first", "held"), [("./model/", "training_ngrams.safetensors"), ("./held/", "review_template.json")]
)
def test_a_model_that_is_replaced_while_files_beside_it_are_read_is_no_error(
    opened: Open, first: str, held: str
) -> None:
    with opened() as page:
        for path in (held, "held/**", "next/**"):
            page.route(f"**/{path}", lambda _: None)
        with page.expect_request(f"**/{held}"):
            load(page, first)
        with page.expect_event("requestfailed", lambda request: request.url.endswith(held)):
            page.get_by_label("Name on the Hub, or address").fill("./next/")
            page.get_by_role("button", name="Load").click()
        expect(page.locator(".loading-line")).to_contain_text("/next/ …")
        expect(page.get_by_role("alert")).to_be_hidden()


def test_a_model_that_writes_the_text_of_the_last_one_is_looked_into(opened: Open, site: tuple[Path, str]) -> None:
    shutil.copytree(site[0] / "model", site[0] / "greedy")
    file = site[0] / "greedy" / "generation_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "do_sample": False}))
    with opened({"model": "./greedy/"}) as page:
        shown, word = text(page), page.locator(".words .word:not(.given)").first
        word.click()
        expect(page.locator("[data-view=next] .chosen-word")).to_be_visible()
        load(page, "./greedy/")
        expect(page.locator("[data-view=next] .chosen-word")).to_be_hidden()
        written(page)
        expect(page.locator(".status")).to_contain_text("Words written")
        assert text(page) == shown
        word.click()
        expect(page.locator("[data-view=next] .chosen-word")).to_be_visible()


def test_settings_that_are_not_applied_are_named(opened: Open, site: tuple[Path, str]) -> None:
    shutil.copytree(site[0] / "model", site[0] / "min_p")
    file = site[0] / "min_p" / "generation_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "min_p": 0.1, "repetition_penalty": 1.2}))
    with opened({**LINK, "model": "./min_p/"}) as page:
        line = page.get_by_text("Settings of the model that are not applied here: repetition_penalty, min_p.")
        expect(line).to_be_visible()
        load(page, "./model/")
        expect(page.locator(".model-name")).to_have_text("model")
        expect(line).to_have_count(0)


def test_the_link_of_a_model_with_extreme_settings_is_valid(opened: Open, site: tuple[Path, str]) -> None:
    shutil.copytree(site[0] / "model", site[0] / "extreme")
    file = site[0] / "extreme" / "generation_config.json"
    extreme = {"do_sample": True, "temperature": 3.0, "top_k": 2**31 - 1, "top_p": 0.01}
    file.write_text(json.dumps({**json.loads(file.read_text()), **extreme}))
    with opened({"model": "./extreme/"}) as page:
        expect(page).to_have_url(re.compile("seed="))
        shown, link = text(page), link_of(page)
        assert (link["temperature"], link["top_k"], link["top_p"]) == ("2", "1000000", "0.05")
    with opened(link) as page:
        expect(page.get_by_role("alert")).to_be_hidden()
        assert text(page) == shown
        page.locator(".words .word:not(.given)").first.click()
        for name, value in (("Temperature", "2"), ("Top-k", "100"), ("Top-p", "0.05")):
            expect(page.get_by_role("slider", name=name)).to_have_value(value)


def test_the_keyboard_alone_steps_through_the_words(opened: Open) -> None:
    with opened() as page:
        page.locator(".words button.word:not(.given)").first.focus()
        page.keyboard.press("ArrowRight")
        expect(page.locator("[data-view=next] .chosen-word")).to_be_visible()
        first = page.locator("[data-view=next] .chosen-word").inner_text()
        page.keyboard.press("ArrowRight")
        expect(page.locator("[data-view=next] .chosen-word")).not_to_have_text(first)
        page.keyboard.press("ArrowLeft")
        expect(page.locator("[data-view=next] .chosen-word")).to_have_text(first)
        page.keyboard.press("Shift+ArrowLeft")
        expect(page.locator(".text-card .tip")).to_contain_text("of the attention")
        expect(page.locator("[data-view=next] .chosen-word")).to_have_text(first)
        page.keyboard.press("End")
        expect(page.locator("[data-view=next] .chosen-word")).to_have_text("end of the text")
        page.keyboard.press("Escape")
        expect(page.locator(".panel .content").first).to_be_hidden()


def test_neither_the_page_nor_its_worker_may_ask_another_host(opened: Open, site: tuple[Path, str]) -> None:
    other = site[1].replace("127.0.0.1", "localhost")
    # no-cors, so that only the policy can stop it
    script = """address => new Promise((resolve) => {
        addEventListener("securitypolicyviolation", ({ effectiveDirective }) => resolve(effectiveDirective));
        fetch(address, { mode: "no-cors" }).then(() => resolve("answered"), () => {});
    })"""
    with opened(blocked=True) as page:
        (worker,) = page.workers
        assert worker.evaluate(script, f"{site[1]}/settings.json") == "answered"
        assert worker.evaluate(script, f"{other}/settings.json") == "connect-src"
        assert page.evaluate(script, f"{other}/settings.json") == "connect-src"
        page.locator(".right-model").evaluate("(each, value) => { each.value = value; }", f"{other}/model/")
        page.get_by_role("tab", name="Compare").click()
        page.get_by_role("button", name="Write both").click()
        expect(page.locator(".compare-status")).to_contain_text("can load models only from this")


def test_a_page_that_lacks_a_file_says_so(opened: Open) -> None:
    with opened() as page:
        expect(page.locator(".starting")).to_have_count(0)
        page.route("**/page/casing.js", lambda route: route.fulfill(status=404))
        page.reload()
        expect(page.get_by_text("one of its files was not loaded: reload the page")).to_be_visible()


def test_markup_is_shown_and_never_run(opened: Open) -> None:
    prompt = "<img src=x onerror=document.title='run'> <script>document.title='run'</script> ${7*7} {{7*7}}"
    with opened({**LINK, "prompt": prompt}) as page:
        expect(page.locator(".words")).to_contain_text("<script>document.title='run'</script> ${7*7} {{7*7}}")
        expect(page.locator(".unknown-note")).to_contain_text("script")
        assert page.title() == "Look inside a small GPT-2"
        assert page.locator("main img, main script").count() == 0
        page.locator(".prompt").fill("a " * 100)
        page.get_by_role("button", name="Write a text").click()
        expect(page.get_by_role("alert")).to_have_text("the text has 101 tokens; the model has 64 positions")


@pytest.mark.parametrize(
    ("model", "line"),
    [
        ("./damaged/", "model.safetensors: transformer.ln_f.weight has values that are NaN or infinite"),
        ("./other/", "the explorer runs GPT-2 models, and this model is a “<b>bert</b>”"),
    ],
)
def test_a_model_that_cannot_run_is_one_line(opened: Open, site: tuple[Path, str], model: str, line: str) -> None:
    if model == "./damaged/":
        damage(site[0])
    else:
        (site[0] / "other").mkdir()
        (site[0] / "other" / "config.json").write_text(json.dumps({"model_type": "<b>bert</b>"}))
    with opened({"model": model}, ready=False) as page:
        expect(page.get_by_role("alert")).to_contain_text(line)
        page.get_by_label("Name on the Hub, or address").fill("./model/")
        page.get_by_role("button", name="Load").click()
        written(page)
        expect(page.get_by_role("alert")).to_be_hidden()


def damage(site: Path) -> None:
    """Write a copy of the model with NaN in its weights."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(site / "model", site / "damaged")
    weights = load_file(site / "model" / "model.safetensors")
    weights["transformer.ln_f.weight"][3] = torch.nan
    save_file(weights, site / "damaged" / "model.safetensors", {"format": "pt"})


def pick_files(page: Page, run: Path) -> None:
    """Open a model from files of the visitor, without its tokenizer."""
    page.get_by_text("Another model").click()
    page.locator(".files").set_input_files([run / "config.json", run / "model.safetensors"])
    expect(page.locator(".hint")).to_contain_text("Type ids, such as: 12 7 105.")
    written(page)


def test_dropped_files_without_a_tokenizer_run_on_ids(opened: Open, toy_run: Path) -> None:
    with opened() as page:
        pick_files(page, toy_run)
        page.locator(".prompt").fill("1 20 <b>")
        page.get_by_role("button", name="Write a text").click()
        expect(page.get_by_role("alert")).to_contain_text("“<b>” is no id")
        page.locator(".prompt").fill("1 20 30")
        page.get_by_role("button", name="Write a text").click()
        expect(page.locator(".word.given")).to_have_text(["1", "20", "30"])


def test_text_is_dragged_into_the_prompt(opened: Open) -> None:
    with opened() as page:
        page.locator(".prompt").fill("")
        heading = page.get_by_role("heading", level=1)
        heading.click(click_count=3)
        heading.drag_to(page.locator(".prompt"))
        expect(page.locator(".prompt")).to_have_value(re.compile("Look inside a small GPT-2"))


def test_a_link_of_dropped_files_names_neither_another_model_nor_their_ids(opened: Open, toy_run: Path) -> None:
    with opened({**LINK, "model": "./model/", "lang": "en"}) as page:
        pick_files(page, toy_run)
        expect(page.locator(".model-name")).to_have_text("config.json")
        page.locator(".prompt").fill("1 20 30")
        page.get_by_role("button", name="Write a text").click()
        expect(page).to_have_url(re.compile("prompt=1"))
        written(page)
        page.get_by_role("button", name="Draw again").click()
        expect(page.locator("[data-view=next] .chosen-word")).to_be_visible()
        page.locator(".surprise").check()
        expect(page).to_have_url(re.compile("surprise=1"))
        assert {"model", "ids"} & link_of(page).keys() == set()
        assert (link_of(page)["prompt"], link_of(page)["lang"]) == ("1 20 30", "en")


def give_tokenizer(site: Path, name: str, **changes: object) -> Tokenizer:
    """Write a copy of the model with a tokenizer that the page does not read itself, whose parts may be changed."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=True), decoders.ByteLevel()
    # the toy model has fewer embeddings than there are bytes
    trainer = trainers.BpeTrainer(vocab_size=60, show_progress=False)
    tokenizer.train_from_iterator(["a crisp, bright wine!"] * 3, trainer)
    (site / name).mkdir()
    for file in ("config.json", "generation_config.json", "model.safetensors"):
        (site / name / file).symlink_to(site / "model" / file)
    (site / name / "tokenizer.json").write_text(json.dumps({**json.loads(tokenizer.to_str()), **changes}))
    return tokenizer


@needs_library
def test_another_tokenizer_is_read_by_the_library_of_the_cdn(opened: Open, site: tuple[Path, str]) -> None:
    tokenizer = give_tokenizer(site[0], "bytes")
    prompt = "a wine, bright crisp!"
    with opened({"model": "./bytes/", "prompt": prompt, "length": 5}, library=True) as page:
        given = page.locator(".word.given")
        encoded = tokenizer.encode(prompt)
        assert "".join(given.all_text_contents()) == prompt.replace(" ", "")
        page.locator(".raw").check()
        assert given.all_inner_texts() == encoded.tokens
        expect(page.locator(".hint")).to_be_empty()


SLOW = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}


@needs_library
def test_a_tokenizer_that_takes_forever_is_one_line(opened: Open, site: tuple[Path, str]) -> None:
    give_tokenizer(site[0], "slow", pre_tokenizer=SLOW)
    with opened({"model": "./slow/", "prompt": "a" * 40 + "!"}, ready=False, library=True) as page:
        expect(page.locator(".model-name")).to_have_text("slow")
        page.clock.fast_forward(11_000)
        expect(page.get_by_role("alert")).to_have_text(
            "this model's tokenizer takes longer than 10 seconds for this text, so the model was closed: load it again"
        )
        page.get_by_text("Another model").click()
        page.get_by_label("Name on the Hub, or address").fill("./model/")
        page.get_by_role("button", name="Load").click()
        written(page)
        expect(page.get_by_role("alert")).to_be_hidden()


@pytest.fixture(scope="module", params=[("characters", 160, 4), ("bpe", 48, 20)], ids=["characters", "bpe"])
def other_kind(site: tuple[Path, str], request: pytest.FixtureRequest) -> str:
    """Train a model whose tokens are no words beside the page; return its kind."""
    kind, positions, epochs = request.param
    train_toy(site[0] / kind, kind, positions, epochs)
    return str(kind)


UNITS = {"characters": "character", "bpe": "token"}


def test_a_model_without_words_writes_guesses_and_tours_without_a_library(
    opened: Open, site: tuple[Path, str], other_kind: str
) -> None:
    unit = UNITS[other_kind]
    link = {"model": f"./{other_kind}/", "prompt": "wine review : italy", "temperature": 0, "length": 40}
    with opened(link, permissions=["clipboard-read", "clipboard-write"]) as page:
        tokenizer = load_tokenizer(site[0] / other_kind)
        ids = tokenizer(link["prompt"])["input_ids"]
        expect(page.locator(".word.given")).to_have_count(len(ids))
        expect(page.locator(".status")).to_contain_text(re.compile(rf"^{unit.capitalize()}s written: \d+\."))
        copy = copied(page, "Copy text")
        model, prompt_ids = load_model(site[0] / other_kind), torch.tensor([ids])
        greedy = model.generate(prompt_ids, do_sample=False, max_new_tokens=link["length"], pad_token_id=0)
        assert copy == tokenizer.decode(greedy[0], skip_special_tokens=True).strip()
        page.locator(".words button.word:not(.given)").first.click()
        expect(page.get_by_role("heading", name="What could have come here")).to_be_visible()
        logits = model(prompt_ids).logits[0, -1]
        logits[model.generation_config.suppress_tokens] = -torch.inf
        best = logits.softmax(-1).max().item()
        first = page.locator(".wide-pane .bars li").first
        expect(first.locator(".figure").first).to_have_text(shown(best))
        expect(first).to_have_attribute("aria-current", "true")
        for tab in page.get_by_role("tab").all():
            tab.click()
            assert not re.search(
                r"\bwords?\b", page.locator("main").inner_text().replace("nats per word on unseen", "")
            )
        page.get_by_role("tab", name="Guess first").click()
        page.get_by_role("button", name="Start guessing").click()
        page.locator("button.choice").first.click()
        expect(page.locator(".verdict")).to_contain_text("Your surprise: ")
        page.get_by_role("button", name="Take the tour").click()
        for step in range(1, 9):
            expect(page.locator(".tour")).to_contain_text(f"{step} of 8: ")
            expect(page.locator(".tour-text")).not_to_contain_text(re.compile(r"(each|every|next|another) word"))
            # a click is lost if the page moves under it
            settle(page)
            page.locator(".tour-next").click()
        expect(page.locator(".tour")).to_be_hidden()
        screenshot(page, f"explorer-{other_kind}")


@pytest.mark.parametrize("other_kind", [("bpe", 48, 20)], indirect=True)
def test_a_click_on_the_map_shows_the_token_and_not_its_namesake(
    opened: Open, site: tuple[Path, str], other_kind: str
) -> None:
    weights = load_model(site[0] / other_kind).transformer.wte.weight.detach()
    tokenizer = load_tokenizer(site[0] / other_kind)
    rows, vocabulary = torch.nn.functional.normalize(weights, dim=-1), tokenizer.get_vocab()

    def cosines(index: int) -> list[str]:
        return [f"{each:z.2f}" for each in (rows @ rows[index]).topk(11).values[1:].tolist()]

    # "Ġs" has the name of "s", which has other neighbors
    spaced = {index: label[1:] for label, index in vocabulary.items() if label[0] == "Ġ"}
    namesakes = {index: vocabulary[name] for index, name in spaced.items() if name in vocabulary}
    label, rank, clicked = next(
        (label, rank, near)
        for label, index in vocabulary.items()
        if re.fullmatch("[a-z]+", label)
        for rank, near in enumerate((rows @ rows[index]).topk(11).indices[1:].tolist())
        if near in namesakes and cosines(near) != cosines(namesakes[near])
    )
    with opened({"model": f"./{other_kind}/", "tab": "map", "length": 3}) as page:
        page.get_by_label("Token", exact=True).fill(label)
        page.get_by_role("button", name="Show", exact=True).click()
        expect(page.locator(".nearest-line")).to_contain_text(f"Nearest to “{label}”")
        page.locator(".nearest button.bar").nth(rank).click()
        expect(page.locator(".nearest .figure")).to_have_text(cosines(clicked))
        screenshot(page, "map-bpe")


@pytest.mark.parametrize("other_kind", [("bpe", 48, 20)], indirect=True)
def test_the_spanish_page_names_the_tokens_with_their_gender(opened: Open, other_kind: str) -> None:
    with opened({"model": f"./{other_kind}/", "lang": "es", "length": 20, "temperature": 0}) as page:
        expect(page.get_by_role("tab", name="¿Por qué este token?")).to_be_visible()
        expect(page.get_by_role("tab", name="Mapa de tok")).to_be_visible()
        expect(page.get_by_role("button", name="Token siguiente")).to_be_visible()
        for tab in page.get_by_role("tab").all():
            tab.click()
            assert not re.search(
                r"\bpalabra|\{\w+[|}]", page.locator("main").inner_text().replace("nats por palabra en", "")
            )


def test_the_page_is_in_spanish_for_a_spanish_browser(opened: Open) -> None:
    with opened(locale="es-ES") as page:
        expect(page.locator("html")).to_have_attribute("lang", "es")
        expect(page.locator(".words")).to_have_attribute("lang", "en")
        look(page, "wine")
        expect(page.get_by_role("heading", name="Lo que podría haber aquí")).to_be_visible()
        expect(page.locator(".bars .figure").first).to_have_text(re.compile(r"\d,\d\s%"))
        page.get_by_role("link", name="English").click()
        expect(page.locator("html")).to_have_attribute("lang", "en")
        expect(page.get_by_role("heading", name="What could have come here")).to_be_visible()
        assert "seed=7" in page.url
    with opened({**LINK, "lang": "constructor"}) as page:
        expect(page.locator("html")).to_have_attribute("lang", "en")


def test_english_errors_are_marked_as_english_on_a_spanish_page(opened: Open) -> None:
    with opened({**LINK, "temperature": "hot"}, locale="es-ES") as page:
        expect(page.get_by_role("alert")).to_have_text(re.compile("^El enlace tiene ajustes"))
        expect(page.get_by_role("alert")).not_to_have_attribute("lang", "en")
        page.locator(".prompt").fill("a " * 100)
        page.get_by_role("button", name="Escribir un texto").click()
        expect(page.get_by_role("alert")).to_have_text("the text has 101 tokens; the model has 64 positions")
        expect(page.get_by_role("alert")).to_have_attribute("lang", "en")


def test_both_languages_have_the_same_texts(opened: Open) -> None:
    with opened(ready=False) as page:
        english, spanish = (
            page.evaluate(f"async () => (await import('/page/texts/{name}.js')).{name}") for name in ("en", "es")
        )
    assert list(english) == list(spanish)
    for key, line in english.items():
        assert values_in(line) == values_in(spanish[key]), key


def values_in(line: str) -> list[str]:
    """Return the names of a text's values, without those for what a token is, which each language needs elsewhere."""
    return sorted(name for name in re.findall(r"\{(\w+)\}", line) if name.lower() not in ("unit", "units"))


@pytest.mark.parametrize(("device", "viewport", "scheme"), [("desktop", DESKTOP, "light"), ("phone", PHONE, "dark")])
def test_every_view_is_accessible_in_both_lights_and_widths(
    opened: Open, device: str, viewport: dict[str, int], scheme: str
) -> None:
    with opened(color_scheme=scheme, viewport=viewport) as page:
        page.get_by_text("Another model").click()
        look(page, "wine")
        for tab in page.get_by_role("tab").all():
            tab.click()
            expect(page.get_by_role("tabpanel")).to_be_visible()
            screenshot(page, f"{tab.get_attribute('data-tab')}-{device}-{scheme}")
            assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        # all views at once, since axe is slow
        page.evaluate("for (const panel of document.querySelectorAll('[role=tabpanel]')) panel.hidden = false")
        assert serious(page) == []
