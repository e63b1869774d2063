"""The ONNX export writes what torch writes."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from wine_gpt.generation import generate_texts, join

pytest.importorskip("onnxscript", reason='not installed: pip install "wine_gpt[onnx]"')
onnxruntime = pytest.importorskip("onnxruntime", reason="not installed")

PLACES = ("", "italy", "italy : tuscany", "germany : mosel", "spain : rioja", "spain", "germany", "mars")
GRAPES = ("riesling", "sangiovese", "tempranillo", "merlot")


@pytest.fixture(scope="module")
def session(toy_run: Path, tmp_path_factory: pytest.TempPathFactory) -> "onnxruntime.InferenceSession":
    from wine_gpt.onnx_export import export

    file = tmp_path_factory.mktemp("onnx") / "onnx" / "model.onnx"
    export(toy_run, file)
    assert [path.name for path in file.parent.iterdir()] == ["model.onnx"]
    return onnxruntime.InferenceSession(file)


def prompts() -> list[str]:
    headers = [f"wine review : {place} : {grape}" for place, grape in itertools.product(PLACES, GRAPES)]
    starts = [f"{header} : it's" for header in headers[:12]]
    return [
        *headers,
        *starts,
        "",
        "wine review",
        "Wine Review : Italy",
        "drink now",
        "wine",
        "it's a bright wine with plum",
    ]


def test_greedy_text_equals_torchs_for_50_prompts(
    session: "onnxruntime.InferenceSession", model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    assert len(set(prompts())) == 50
    for prompt in prompts():
        expected = generate_texts(model, tokenizer, [prompt], seed=0, do_sample=False)
        assert [write(session, model, tokenizer, prompt)] == expected, prompt


def write(
    session: "onnxruntime.InferenceSession", model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, prompt: str
) -> str:
    """Take the likeliest word each time, as the generation config allows it, with onnxruntime alone."""
    start = tokenizer(prompt)["input_ids"]
    ids = list(start)
    while len(ids) < model.generation_config.max_length and ids[-1] != tokenizer.eos_token_id:
        given = np.array([ids])
        (logits,) = session.run(None, {"input_ids": given, "attention_mask": np.ones_like(given)})
        logits[0, -1, model.generation_config.suppress_tokens] = -np.inf
        ids.append(int(logits[0, -1].argmax()))
    return join(prompt, tokenizer.decode(ids[len(start) :], skip_special_tokens=True))


def test_padded_texts_of_a_batch_have_the_logits_of_torch(
    session: "onnxruntime.InferenceSession", model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    given = tokenizer(["wine review", "wine review : italy : tuscany"], return_tensors="pt", padding=True)
    expected = model(**given).logits.detach().numpy()
    (logits,) = session.run(None, {name: tensor.numpy() for name, tensor in given.items()})
    real = given["attention_mask"].numpy().astype(bool)
    assert np.allclose(logits[real], expected[real], atol=1e-4)
