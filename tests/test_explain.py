"""Explanations show what the model computed, in the terminal and on the HTML page."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2LMHeadModel, PreTrainedTokenizerFast

from wine_gpt.errors import UserError
from wine_gpt.generation.explain import END, START, Explanation, Step, explain, to_html, to_terminal
from wine_gpt.generation.generate import encode_prompts

TEMPERATURE = 0.7
PROMPT = "Wine review: Italy"


@pytest.fixture(scope="module")
def inputs(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast) -> dict[str, torch.Tensor]:
    return encode_prompts(model, tokenizer, [PROMPT])


@pytest.fixture(scope="module")
def ids(model: GPT2LMHeadModel, inputs: dict[str, torch.Tensor]) -> list[int]:
    torch.manual_seed(1)
    found: list[int] = model.generate(**inputs, temperature=3.0)[0].tolist()
    return found


@pytest.fixture(scope="module")
def explanation(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, ids: list[int]) -> Explanation:
    return explain(model, tokenizer, ids, 5, temperature=TEMPERATURE)


def test_probabilities_are_those_that_generate_samples_from(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, inputs: dict[str, torch.Tensor]
) -> None:
    torch.manual_seed(2)
    generated = model.generate(
        **inputs, temperature=TEMPERATURE, top_k=0, output_scores=True, return_dict_in_generate=True
    )
    ids = generated.sequences[0].tolist()
    steps = explain(model, tokenizer, ids, 5, temperature=TEMPERATURE).steps
    assert len(steps) == len(generated.scores) > 10
    words = [*tokenizer.convert_ids_to_tokens(range(tokenizer.bos_token_id)), START, END]
    for step, chosen, scores in zip(steps, ids[5:], generated.scores, strict=True):
        probabilities = scores[0].softmax(dim=-1)
        assert step.probability == pytest.approx(probabilities[chosen].item(), rel=1e-4, abs=1e-6)
        assert step.word == words[chosen]
        assert step.rank == 1 + int((probabilities > probabilities[chosen]).sum())
        assert [probability for _, probability in step.alternatives] == pytest.approx(
            sorted(probabilities.tolist(), reverse=True)[:10], rel=1e-4, abs=1e-6
        )
        for word, probability in step.alternatives:
            assert probability == pytest.approx(probabilities[words.index(word)].item(), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(
    ("layer", "head", "view"),
    [
        (None, None, "mean over layers and heads"),
        (0, None, "layer 0, mean over heads"),
        (None, 1, "mean over layers, head 1"),
        (0, 0, "layer 0, head 0"),
    ],
)
def test_attention_is_what_an_eager_model_returns(
    toy_run: Path,
    model: GPT2LMHeadModel,
    tokenizer: PreTrainedTokenizerFast,
    ids: list[int],
    layer: int | None,
    head: int | None,
    view: str,
) -> None:
    eager = AutoModelForCausalLM.from_pretrained(toy_run, attn_implementation="eager").eval()
    with torch.no_grad():
        expected = torch.cat(eager(torch.tensor([ids]), output_attentions=True).attentions)
    expected = expected.mean(dim=0) if layer is None else expected[layer]
    expected = expected.mean(dim=0) if head is None else expected[head]
    shown = explain(model, tokenizer, ids, 5, layer=layer, head=head)
    assert (shown.view, shown.temperature) == (view, model.generation_config.temperature)
    for position, step in enumerate(shown.steps, 5):
        assert step.attention == pytest.approx(expected[position - 1, :position].tolist(), abs=1e-5)
        assert sum(step.attention) == pytest.approx(1, abs=1e-5)


def test_the_words_are_the_text(explanation: Explanation, tokenizer: PreTrainedTokenizerFast, ids: list[int]) -> None:
    assert explanation.words[:5] == (START, " wine", " review", " :", " italy")
    assert len(explanation.words) == len(ids)
    assert len(explanation.steps) == len(ids) - 5
    text = "".join(explanation.words[5:]).removesuffix(f" {END}")
    assert text == tokenizer.decode(ids[5:], skip_special_tokens=True)
    assert [step.word for step in explanation.steps] == [word.strip() for word in explanation.words[5:]]


def test_the_end_of_the_text_is_a_step(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast) -> None:
    ids = [*tokenizer("wine review : italy.")["input_ids"], tokenizer.eos_token_id]
    (step,) = explain(model, tokenizer, ids, len(ids) - 1).steps
    assert step.word == END


def test_the_model_keeps_its_mode_its_weights_and_its_attention(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, ids: list[int]
) -> None:
    weights = {name: (tensor.data_ptr(), tensor.clone()) for name, tensor in model.state_dict().items()}
    model.train()
    try:
        explain(model, tokenizer, ids, 5)
        assert model.training
    finally:
        model.eval()
    for name, tensor in model.state_dict().items():
        pointer, before = weights[name]
        assert tensor.data_ptr() == pointer
        assert torch.equal(tensor, before)
    with torch.no_grad():
        # scaled_dot_product_attention returns no weights
        output = model(torch.tensor([ids]), output_attentions=True)
    assert not any(weights is not None for weights in output.attentions)


@pytest.mark.parametrize(
    ("choice", "message"),
    [({"layer": 2}, "layer: 2, but the model's layers are 0 to 1"), ({"head": -1}, "head: -1, .* heads are 0 to 1")],
)
def test_a_layer_or_head_that_does_not_exist_is_named(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, choice: dict[str, int], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        explain(model, tokenizer, [2, 3], 1, **choice)


BY_HAND = Explanation(
    words=(START, " wine", " is", " dry", ","),
    steps=(
        Step("dry", 0.125, 7, tuple((f"w{n}", 0.14) for n in range(6)), (0.6, 0.39, 0.01)),
        Step(",", 0.5, 1, ((",", 0.5), (".", 0.25)), (0.1, 0.2, 0.3, 0.4)),
    ),
    temperature=0.5,
    view="layer 1, mean over heads",
)


def test_the_terminal_without_color_shows_numbers() -> None:
    legend, *blocks = to_terminal(BY_HAND, color=False).split("\n\n")
    assert "layer 1, mean over heads" in legend
    assert "temperature 0.5" in legend
    assert blocks == [
        f"{START}(60%) wine(39%) is dry\n    w0 14.0%  w1 14.0%  w2 14.0%  w3 14.0%  w4 14.0%  *dry 12.5% (rank 7)",
        f"{START}(10%) wine(20%) is(30%) dry(40%),\n    *, 50.0%  . 25.0%",
    ]


def test_the_terminal_with_color_shows_equal_text_and_shades_by_attention() -> None:
    _, *blocks = to_terminal(BY_HAND, color=True).split("\n\n")
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", block).splitlines()[0] for block in blocks]
    assert plain == [f"{START} wine is dry", f"{START} wine is dry,"]
    shades = re.findall(r"\x1b\[48;5;(\d+)m\x1b\[38;5;231m(.*?)\x1b\[0m", blocks[1])
    assert [word for _, word in shades] == [START, "wine", "is", "dry"]
    assert len({shade for shade, _ in shades}) == 4
    # shades are relative to the most attended word; a word with hardly any attention has none
    assert f"\x1b[48;5;{shades[-1][0]}m\x1b[38;5;231m{START}\x1b[0m" in blocks[0]
    assert re.findall(r"38;5;231m(.*?)\x1b", blocks[0]) == [START, "wine"]


def embedded(page: str) -> dict[str, object]:
    (data,) = re.findall(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    content: dict[str, object] = json.loads(data)
    return content


def test_the_page_is_self_contained() -> None:
    page = to_html(BY_HAND, {"Model": "runs/sample"})
    content = embedded(page)
    assert content["words"] == list(BY_HAND.words)
    assert content["settings"] == {"Model": "runs/sample"}
    steps = content["steps"]
    assert isinstance(steps, list)
    assert [step["attention"] for step in steps] == [list(step.attention) for step in BY_HAND.steps]
    assert [step["rank"] for step in steps] == [7, 1]
    assert "{{" not in page
    assert not re.search(r"https?:|src=|href=|url\(|@import|fetch\(", page)


def test_markup_in_texts_and_settings_is_escaped() -> None:
    evil = "</script><script>alert(1)</script><!--&amp;{{data}}"
    explanation = Explanation((START, evil), (Step(evil, 1, 1, ((evil, 1.0),), (1.0,)),), 1, "v")
    page = to_html(explanation, {"Prompt": evil})
    assert page.count("</script>") == to_html(BY_HAND, {}).count("</script>")
    assert "<!--" not in page.removeprefix("<!")
    (title,) = re.findall("<title>(.*?)</title>", page)
    assert "<" not in title
    content = embedded(page)
    assert content["words"] == [START, evil]
    assert content["settings"] == {"Prompt": evil}


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium to run the page's script")
def test_the_page_works_with_mouse_and_keyboard(tmp_path: Path) -> None:
    pytest.importorskip("playwright", reason="playwright is not installed")
    pytest.importorskip("axe_playwright_python", reason="axe is not installed")
    from support.browser import launched, new_page

    page = to_html(BY_HAND, {"Model": "<b>runs</b>"})
    pointing = """
      const report = [];
      const look = () => report.push(document.getElementById("heading").textContent);
      const buttons = [...document.querySelectorAll("button")];
      look();
      buttons[1].dispatchEvent(new Event("pointerenter"));
      look();
      buttons[1].focus();
      buttons[1].dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft" }));
      look();
      report.push(buttons.length, document.activeElement.textContent, document.querySelectorAll("li").length);
      report.push(document.getElementById("text").textContent, document.querySelector("dd").textContent);
      const weights = [...document.querySelectorAll(".word")].map(word => +word.style.getPropertyValue("--weight"));
      return [...report, weights];
    """
    (tmp_path / "page.html").write_text(page)
    with launched() as browser:
        # playwright gives the page the focus, which a browser without a window does not have from the start
        shown = new_page(browser)
        shown.goto(f"file://{tmp_path}/page.html")
        *seen, weights = shown.evaluate(f"() => {{ {pointing} }}")
    assert seen == [
        "“dry”: 12.5%, number 7 of all words",
        "“,”: 50.0%, the likeliest word",
        "“dry”: 12.5%, number 7 of all words",
        2,
        "dry",
        7,
        f"{START} wine is dry,",
        "<b>runs</b>",
    ]
    assert weights == pytest.approx([0.75, 0.75 * 0.39 / 0.6, 0.75 * 0.01 / 0.6, 0, 0])
