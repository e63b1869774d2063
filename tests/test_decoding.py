"""The KV-cached loop returns the ids of ``model.generate``."""

import math
import re
from typing import Any

import pytest
import torch
from transformers import (
    GPT2LMHeadModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    UnbatchedClassifierFreeGuidanceLogitsProcessor,
    set_seed,
)

from wine_gpt.config import ModelConfig
from wine_gpt.data.template import CLASS_TEMPLATE
from wine_gpt.errors import UserError
from wine_gpt.generation.decoding import supported_config
from wine_gpt.generation.generate import (
    encode_prompts,
    generate_ids,
    generate_texts,
    negative_prompts,
)
from wine_gpt.generation.sampler import END_PENALTY, guide
from wine_gpt.modeling.gpt2 import build_model
from wine_gpt.modeling.pretrained import quiet_transformers

PROMPTS = ["wine review : italy", "", "wine review : germany : mosel : riesling : it's a light-", "plum " * 40]


class Recorder:
    """A streamer that records what it receives."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def put(self, value: torch.Tensor) -> None:
        """Record the prompt, then each new id."""
        self.seen.append(value.tolist())

    def end(self) -> None:
        """Record the end."""
        self.seen.append("end")


class GuidanceOfWords(UnbatchedClassifierFreeGuidanceLogitsProcessor):
    """The guidance of transformers for all words but the end of the text, which is less likely than without."""

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Return log-probabilities, float of the scores' shape."""
        ends = torch.as_tensor(self.model.generation_config.eos_token_id).reshape(-1)
        end = torch.log_softmax(scores, -1)[:, ends] - END_PENALTY * (self.guidance_scale - 1)
        guided: torch.FloatTensor = super().__call__(input_ids, scores)
        guided[:, ends] = end
        guided[:, self.model.generation_config.suppress_tokens] = -torch.inf
        return guided


def generate_with_transformers(
    model: Any,  # noqa: ANN401 - any class of models
    inputs: dict[str, torch.Tensor],
    seed: int,
    limit: int,
    **settings: Any,  # noqa: ANN401 - of generate
) -> torch.Tensor:
    set_seed(seed)
    if scale := settings.pop("guidance_scale", None):
        negative = settings.pop("negative", ())
        # transformers would suppress the tokens before a custom processor
        settings |= {"logits_processor": [GuidanceOfWords(scale, model, *negative)], "suppress_tokens": None}
    with torch.inference_mode(), quiet_transformers():
        ids: torch.Tensor = model.generate(**inputs, max_length=limit, max_new_tokens=None, **settings)
    return ids


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"do_sample": False},
        {"temperature": 1.0, "top_k": 0},
        {"temperature": 1.7, "top_k": 7},
        {"top_p": 0.6},
        {"guidance_scale": 2.0, "temperature": 1.0},
        {"guidance_scale": 0.5, "do_sample": False},
        {"suppress_tokens": None, "temperature": 5.0},
        {"eos_token_id": [23, 5, 9]},
    ],
)
@pytest.mark.parametrize("prompt", PROMPTS[::2])
def test_the_ids_for_a_seed_are_those_of_generate(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, prompt: str, settings: dict[str, Any]
) -> None:
    assert supported_config(model, settings) is not None
    inputs = encode_prompts(model, tokenizer, [prompt])
    for seed in range(2):
        expected = generate_with_transformers(model, inputs, seed, 64, **settings)
        assert generate_ids(model, inputs, seed=seed, **settings).tolist() == expected.tolist()


@pytest.mark.parametrize("settings", [{"do_sample": False}, {"top_k": 1}, {"top_p": 1e-6}])
def test_prompts_of_different_lengths_are_continued_together(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, settings: dict[str, Any]
) -> None:
    """Greedy decoding, because the loop samples several rows with other random numbers than ``generate``."""
    inputs = encode_prompts(model, tokenizer, PROMPTS)
    expected = generate_with_transformers(model, inputs, 0, 64, do_sample=False)
    # transformers counts the padding before a prompt, too
    assert generate_ids(model, inputs, seed=0, **settings)[:, :64].tolist() == expected.tolist()


@pytest.mark.parametrize(
    "prompt", ["wine review : germany : mosel : riesling :", "Wine review:  Germany: Mosel", "", "plum"]
)
def test_guidance_contrasts_the_prompt_with_hidden_values(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, prompt: str
) -> None:
    """Against transformers, with a prompt in which [UNK] is typed in place of each value's words."""
    inputs = encode_prompts(model, tokenizer, [prompt])
    settings = {"guidance_scale": 3.0, "temperature": 1.0}
    hidden = negative_prompts(settings, inputs, tokenizer, [prompt], CLASS_TEMPLATE)
    typed = re.sub(r"\b(germany|mosel|riesling)", "zzz", prompt, flags=re.IGNORECASE)
    assert hidden is not None
    assert torch.equal(hidden.ids, encode_prompts(model, tokenizer, [typed])["input_ids"])
    ids = generate_ids(model, inputs, seed=0, negative=hidden, **settings)
    # a prompt without values is not guided
    guided = {} if typed == prompt else {"guidance_scale": 3.0, "negative": hidden}
    for seed, temperature in ((0, 1.0), (1, 3.0), (2, 3.0)):
        found = generate_ids(model, inputs, seed=seed, guidance_scale=3.0, temperature=temperature, negative=hidden)
        expected = generate_with_transformers(model, inputs, seed, 64, temperature=temperature, **guided)
        assert found.tolist() == expected.tolist()
    (text,) = generate_texts(model, tokenizer, [prompt], seed=0, template=CLASS_TEMPLATE, **settings)
    assert "".join(text.lower().split()) == "".join(tokenizer.decode(ids[0], skip_special_tokens=True).split())


@pytest.mark.parametrize("scale", ["2", float("nan"), float("inf")])
def test_a_guidance_scale_that_is_no_number_is_refused(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, scale: object
) -> None:
    with pytest.raises(UserError, match=r"guidance_scale is .* must be a finite number"):
        generate_texts(model, tokenizer, ["wine review"], seed=0, guidance_scale=scale, template=CLASS_TEMPLATE)


def test_guided_prompts_of_different_lengths_are_continued_together(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    settings = {"guidance_scale": 2.0, "do_sample": False, "template": CLASS_TEMPLATE, "max_new_tokens": 9}
    together = generate_texts(model, tokenizer, PROMPTS, seed=0, **settings)
    assert together == [generate_texts(model, tokenizer, [prompt], seed=0, **settings)[0] for prompt in PROMPTS]


def test_guidance_does_not_make_the_end_of_the_text_likelier() -> None:
    prompted, negative = (torch.tensor([row]).log() for row in ([0.5, 0.2, 0.3], [0.2, 0.6, 0.2]))
    # word 0 is likelier after the prompt, word 1 less likely, and word 2 ends the text
    assert guide(prompted, negative, 2.0, torch.tensor([2])).exp()[0].tolist() == pytest.approx(
        [0.5**2 / 0.2, 0.2**2 / 0.6, 0.3 / math.exp(END_PENALTY)]
    )
    assert torch.allclose(guide(prompted, negative, 1.0, torch.tensor([2])), prompted)


def test_words_of_many_rows_have_the_frequencies_of_their_probabilities(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    rows = 20_000
    inputs = encode_prompts(model, tokenizer, ["wine review :"])
    suppressed = model.generation_config.suppress_tokens
    with torch.no_grad():
        logits = model(**inputs).logits[0, -1].index_fill_(0, torch.tensor(suppressed), -torch.inf)
    expected = torch.softmax(logits / 3, -1)
    many = {name: tensor.expand(rows, -1) for name, tensor in inputs.items()}
    ids = generate_ids(model, many, seed=0, max_new_tokens=1, temperature=3.0, top_k=0)[:, -1]
    counts = torch.bincount(ids, minlength=len(expected))
    assert counts[suppressed].sum() == 0
    deviation = (counts - rows * expected).abs() / (rows * expected).sqrt().clamp(min=1)
    assert deviation.max() < 5


@pytest.mark.parametrize(("n_layer", "n_head"), [(1, 1), (3, 4)])
def test_any_depth_and_number_of_heads(tokenizer: PreTrainedTokenizerFast, n_layer: int, n_head: int) -> None:
    model = build_model(ModelConfig(n_layer=n_layer, n_head=n_head, n_embd=32, block_size=64), tokenizer, seed=1)
    # scaled up, because an untrained model's words hardly depend on the words before
    for parameter in model.parameters():
        parameter.data.mul_(6)
    model.eval()
    for prompts, sample in ((PROMPTS[:1], True), (PROMPTS, False)):
        inputs = encode_prompts(model, tokenizer, prompts)
        expected = generate_with_transformers(model, inputs, 0, 64, do_sample=sample)
        assert generate_ids(model, inputs, seed=0, do_sample=sample)[:, :64].tolist() == expected.tolist()


def test_a_streamer_gets_what_generate_would_send(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    inputs = encode_prompts(model, tokenizer, PROMPTS[:1])
    ours, expected = Recorder(), Recorder()
    generate_ids(model, inputs, seed=0, streamer=ours)
    generate_with_transformers(model, inputs, 0, 64, streamer=expected)
    assert ours.seen == expected.seen


@pytest.mark.parametrize(
    "settings", [{"num_beams": 2}, {"repetition_penalty": 1.5}, {"min_p": 0.1}, {"logits_processor": []}]
)
def test_unsupported_settings_are_left_to_generate(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, settings: dict[str, Any]
) -> None:
    assert supported_config(model, settings) is None
    inputs = encode_prompts(model, tokenizer, ["wine review : italy", "wine review : spain"])
    expected = generate_with_transformers(model, inputs, 3, 64, **settings)
    assert generate_ids(model, inputs, seed=3, **settings).tolist() == expected.tolist()


def test_another_model_is_left_to_generate(toy_run: Any) -> None:  # noqa: ANN401
    class Another(GPT2LMHeadModel):
        """A subclass may have another forward."""

    assert supported_config(Another.from_pretrained(toy_run), {}) is None
