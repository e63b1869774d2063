"""The explorer's slider over the epochs of a run, as ``wine-gpt explore`` serves it, against transformers' values."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
import torch
from safetensors.torch import load_file
from support.local_server import serving
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

pytest.importorskip("playwright", reason="playwright is not installed")
pytest.importorskip("axe_playwright_python", reason="axe is not installed")

from playwright.sync_api import Page, expect
from support.browser import CHROMIUM, DESKTOP, launched, new_page, screenshot, settle

from wine_gpt.modeling.pretrained import load_model
from wine_gpt.publishing.explorer_server import ExplorerServer
from wine_gpt.run_folder import EPOCHS, epoch_weights
from wine_gpt.training.epoch_weights import keep
from wine_gpt.training.resume import trained_weights

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium")

PROMPT = "wine review : italy : tuscany : riesling : it's a"
LENGTH = 12
LINK = {"prompt": PROMPT, "temperature": 0, "length": LENGTH, "tab": "epochs", "seed": 7}


@pytest.fixture(scope="module")
def run(toy_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run with the weights before, in the middle and at the end of its training."""
    folder = tmp_path_factory.mktemp("epochs") / "run"
    shutil.copytree(toy_run, folder)
    last = trained_weights(load_model(toy_run))
    torch.manual_seed(0)
    first = {name: 0.02 * torch.randn_like(tensor) for name, tensor in last.items()}
    for epoch, weights in enumerate((first, {name: (first[name] + last[name]) / 2 for name in last}, last)):
        training = 1.5 - epoch / 8 if epoch else None
        losses = {"training_loss": training, "validation_loss": 4.5 - epoch}
        keep(folder / EPOCHS, weights, epoch=epoch, step=20 * epoch, **losses)
    return folder


@pytest.fixture(scope="module")
def page(run: Path) -> Iterator[Page]:
    with launched() as browser, serving(ExplorerServer(run)) as server:
        opened = new_page(browser)
        opened.goto(f"{server.address}?{urlencode(LINK)}")
        # with the prompt alone there are other values
        expect(opened.locator(".text-card[data-state=written] .word:not(.given)").first).to_be_visible()
        yield opened
        browser.close()


def expected(run: Path, epoch: int, tokenizer: PreTrainedTokenizerFast) -> tuple[dict[str, float], dict[str, float]]:
    """Return the probabilities of the next word and the mean attention of the prompt's last word, by word."""
    model = model_of(run, epoch)
    ids = tokenizer(PROMPT, return_tensors="pt").input_ids
    with torch.no_grad():
        found = model(ids, output_attentions=True)
    logits = found.logits[0, -1]
    suppressed = model.generation_config.suppress_tokens or []
    logits[suppressed] = -torch.inf
    names = ["∎" if token == "[EOS]" else str(token) for token in tokenizer.convert_ids_to_tokens(range(len(logits)))]
    attention = torch.stack(found.attentions)[:, 0, :, -1].mean((0, 1))
    labels = tokenizer.convert_ids_to_tokens(ids[0].tolist())
    by_word = list(zip(labels, attention.tolist(), strict=True))
    return dict(zip(names, logits.softmax(0).tolist(), strict=True)), dict(by_word)


def expected_surprise(run: Path, epoch: int, tokenizer: PreTrainedTokenizerFast) -> float:
    """Return an epoch's mean surprise in nats by what the trained model writes."""
    ids = tokenizer(PROMPT, return_tensors="pt").input_ids
    text = model_of(run, 2).generate(ids, do_sample=False, max_new_tokens=LENGTH, pad_token_id=0)
    with torch.no_grad():
        logits = model_of(run, epoch)(text).logits[0, :-1]
    nats = torch.nn.functional.cross_entropy(logits, text[0, 1:], reduction="none")
    return nats[ids.shape[1] - 1 :].mean().item()


def model_of(run: Path, epoch: int) -> GPT2LMHeadModel:
    model = GPT2LMHeadModel.from_pretrained(run, dtype=torch.float32, attn_implementation="eager").eval()
    model.load_state_dict(load_file(run / EPOCHS / epoch_weights(epoch)), strict=False)
    return model


def move_to(page: Page, epoch: int) -> None:
    slider = page.locator("input.epoch")
    slider.evaluate("(each, value) => { each.value = value; each.dispatchEvent(new Event('input')); }", str(epoch))
    slider.dispatch_event("change")
    settle(page)
    expect(page.locator(".epochs-status")).to_be_empty()


def rows(page: Page, name: str) -> dict[str, float]:
    """Return the percentages of a list by word."""
    found = {}
    for row in page.locator(f".{name} li").all():
        figure = row.locator(".figure").inner_text()
        # what is below 0.1% is taken for 0.05%
        found[row.locator(".bar-word").inner_text()] = 0.05 if "<" in figure else float(figure.rstrip("%"))
    return found


def test_each_epoch_has_transformers_values(page: Page, run: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    expect(page.locator(".epoch-line")).to_contain_text("Epoch 2 of 2, step 40: 2.500 nats per word on unseen texts")
    texts = []
    for epoch in (2, 0, 1):
        move_to(page, epoch)
        probabilities, attention = expected(run, epoch, tokenizer)
        found = rows(page, "epoch-next")
        best = sorted(probabilities.values(), reverse=True)[:8]
        assert [*found.values()][:8] == pytest.approx([100 * each for each in best], abs=0.06)
        for word, percent in found.items():
            if word in probabilities:
                assert percent == pytest.approx(100 * probabilities[word], abs=0.06)
        for word, percent in rows(page, "epoch-attended").items():
            # a word that stands several times has another place's figure
            if PROMPT.replace("'", " ' ").split().count(word) == 1:
                assert percent == pytest.approx(100 * attention[word], abs=0.06)
        nats = page.locator(".epoch-surprise").inner_text().removeprefix("Mean surprise of this text: ").split()[0]
        assert float(nats) == pytest.approx(expected_surprise(run, epoch, tokenizer), abs=6e-4)
        texts.append(page.locator(".epoch-text").inner_text())
    assert len({*texts}) == 3
    assert texts[0].startswith(PROMPT)
    expect(page.locator(".epoch-line")).to_contain_text("Epoch 1 of 2, step 20: 3.500 nats")
    screenshot(page, "explorer-epochs")


def test_the_slider_works_by_keyboard_and_says_what_it_shows(page: Page) -> None:
    slider = page.locator("input.epoch")
    slider.focus()
    slider.press("Home")
    expect(page.locator(".epochs-status")).to_be_empty()
    random = "Random weights, before the first step: 4.500 nats per word on unseen texts."
    expect(page.locator(".epoch-line")).to_have_text(random)
    expect(slider).to_have_attribute("aria-valuetext", random)
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    screenshot(page, "explorer-epochs-phone")


def test_epochs_that_could_not_be_read_are_looked_for_again(page: Page) -> None:
    page.route("**/epochs/index.json", lambda route: route.abort())
    page.reload()
    expect(page.locator(".epochs-status")).to_contain_text("try again")
    page.unroute("**/epochs/index.json")
    page.get_by_role("tab", name="Why this word?").click()
    page.get_by_role("tab", name="Training").click()
    expect(page.locator(".epoch-line")).to_contain_text("Epoch 2 of 2, step 40")


@pytest.mark.parametrize("parts", [False, True], ids=["folder", "contents"])
def test_a_dropped_folder_has_its_epochs(page: Page, run: Path, parts: bool) -> None:
    page.set_viewport_size(DESKTOP)
    page.evaluate(DROP, [f"/run/{run.name}/", files_to_drop(run), parts])
    expect(page.locator(".model-name")).to_have_text("config.json")
    expect(page.locator(".epoch-line")).to_contain_text("Epoch 2 of 2, step 40")
    move_to(page, 0)
    expect(page.locator(".epoch-line")).to_contain_text("Random weights")


def files_to_drop(run: Path) -> list[str]:
    epochs = (f"{EPOCHS}/{file.name}" for file in sorted((run / EPOCHS).iterdir()))
    return ["config.json", "model.safetensors", "tokenizer.json", *epochs]


# drops a folder, or what lies in it, with files that are fetched, since only a visitor's own drop makes real entries
DROP = """async ([address, paths, parts]) => {
  const contents = new Map();
  for (const path of paths) contents.set(path, await (await fetch(address + path)).blob());
  const root = parts ? "" : "/run";
  const fileAt = (path) => ({
    isFile: true, isDirectory: false, fullPath: `${root}/${path}`,
    file: (resolve) => resolve(new File([contents.get(path)], path.split("/").at(-1))),
  });
  const entriesIn = (folder) => {
    const below = paths.filter((path) => path.startsWith(folder)).map((path) => path.slice(folder.length));
    return [...new Set(below.map((path) => path.split("/")[0]))].map((name) =>
      below.includes(name) ? fileAt(folder + name) : folderAt(`${folder}${name}/`));
  };
  const folderAt = (folder) => ({
    isFile: false, isDirectory: true, fullPath: `${root}/${folder}`.replace(/\\/$/, ""),
    createReader: () => {
      const left = entriesIn(folder);
      // one at a time, where a browser gives 100
      return { readEntries: (resolve) => resolve(left.splice(0, 1)) };
    },
  });
  const items = (parts ? entriesIn("") : [folderAt("")]).map((entry) => ({ webkitGetAsEntry: () => entry }));
  const event = new Event("drop");
  Object.defineProperty(event, "dataTransfer", { value: { types: ["Files"], items } });
  dispatchEvent(event);
}"""


def test_a_missing_file_and_a_run_without_epochs_are_one_line(page: Page, run: Path) -> None:
    (run / EPOCHS / epoch_weights(1)).unlink()
    page.reload()
    expect(page.locator(".epoch-line")).to_contain_text("Epoch 2 of 2")
    page.locator("input.epoch").press("ArrowLeft")
    expect(page.locator(".epochs-status")).to_contain_text("has no epochs/epoch-001.safetensors")
    index = run / EPOCHS / "index.json"
    index.write_text('{"epochs": [{"file": "../x"}]}')
    page.reload()
    expect(page.locator(".epochs-status")).to_have_text("epochs/index.json is no index of epochs")
    index.unlink()
    page.reload()
    expect(page.locator(".epochs-status")).to_contain_text("no weights of its epochs")
