"""The metrics, against cases worked out by hand or by brute force, and as modules of ``evaluate``."""

import json
import math
import random
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import evaluate
import pytest
from huggingface_hub import RepoCard
from support.hub_server import HubServer
from support.publisher import Publisher
from support.without_wine_gpt import run_without_wine_gpt

from wine_gpt.evaluation.metrics import load_metric

METRICS = ("word_perplexity", "copying", "diversity", "conditioning")
PUBLISH_METRICS = Path(__file__).parent / "support" / "publish_metrics.py"
LOAD_METRICS = Path(__file__).parent / "support" / "load_metrics_offline.py"
FOLDER = Path(__file__).parents[1] / "wine_gpt" / "evaluation" / "metrics"


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Load each metric without this package and without a network, and run the examples of its documentation."""
    folder = tmp_path_factory.mktemp("offline")
    paths = [str(FOLDER / name) for name in METRICS]
    found: dict[str, Any] = run_without_wine_gpt(LOAD_METRICS, str(folder / "home"), *paths, cwd=folder)
    return found


@pytest.mark.parametrize("name", METRICS)
def test_each_metric_loads_offline_without_wine_gpt_and_its_examples_are_right(
    offline: dict[str, Any], name: str
) -> None:
    assert offline[name]["failed"] == 0
    assert offline[name]["tried"] >= 3
    assert len(offline[name]["description"]) > 200
    assert "predictions" in offline[name]["features"]


@pytest.fixture(scope="module")
def published(hub: HubServer, publisher: Publisher) -> dict[str, Any]:
    """Upload each metric to a Space, and return the inputs of each as it is loaded from there."""
    hub.forget()
    lines = publisher.run(*(FOLDER / name for name in METRICS), script=PUBLISH_METRICS).succeeded().splitlines()
    return dict(zip(METRICS, map(json.loads, lines), strict=True))


@pytest.mark.parametrize("name", METRICS)
def test_each_metric_is_a_space_from_which_it_loads(
    hub: HubServer, published: dict[str, Any], offline: dict[str, Any], name: str
) -> None:
    assert published[name] == sorted(offline[name]["features"])
    files = hub.repository(f"org/{name}", "space").files()
    # the files of evaluate's template of a module, but for its tests
    assert set(files) == {"README.md", "__init__.py", "app.py", "requirements.txt", f"{name}.py"}
    assert all("wine_gpt" not in content for path, content in files.items() if path != f"{name}.py")


def figures(metric: str, **inputs: object) -> dict[str, Any]:
    return load_metric(metric).compute(**inputs)


def logs(*probabilities: float) -> list[float]:
    return [math.log(probability) for probability in probabilities]


END, UNKNOWN, PADDING = 9, 1, 0


def test_perplexity_is_over_words_without_ends_of_text_and_padding() -> None:
    found = figures(
        "word_perplexity",
        predictions=[logs(1 / 2, 1 / 4, 1 / 8, 1 / 32), logs(1 / 16, 1 / 128, 1e-30, 1e-30)],
        references=[[5, 6, UNKNOWN, END], [7, END, PADDING, PADDING]],
        end_id=END,
        unknown_id=UNKNOWN,
        padding_id=PADDING,
        characters=[12, 8],
    )
    bits = 1 + 2 + 3 + 4
    assert found == pytest.approx(
        {
            "nats_per_word": bits * math.log(2) / 4,
            "perplexity": 2 ** (bits / 4),
            "unknown_rate": 1 / 4,
            "words": 4,
            "reviews": 2,
            "end_of_text_nats": math.log(2) * (5 + 7) / 2,
            "bits_per_character": bits / 20,
        }
    )


def test_nats_of_subword_tokens_are_divided_by_the_words() -> None:
    inputs = {"predictions": [logs(0.5, 0.5, 0.25, 0.25)], "references": [[3, 4, 5, 6]], "end_id": END}
    assert figures("word_perplexity", **inputs, words=[2])["perplexity"] == pytest.approx(2**3)
    assert figures("word_perplexity", **inputs)["perplexity"] == pytest.approx(2**1.5)
    assert figures("word_perplexity", **inputs)["end_of_text_nats"] is None
    assert "bits_per_character" not in figures("word_perplexity", **inputs)
    inputs["predictions"] = [[-1000.0] * 4]
    assert figures("word_perplexity", **inputs)["perplexity"] == math.inf


def test_perplexity_refuses_unequal_lengths_and_no_words() -> None:
    with pytest.raises(ValueError, match="text 1: 1 logarithms, but 2 ids"):
        figures("word_perplexity", predictions=[[-1.0], [-1.0]], references=[[5], [5, 6]], end_id=END)
    with pytest.raises(ValueError, match="not one word"):
        figures("word_perplexity", predictions=[[-1.0]], references=[[END]], end_id=END)


def test_copying_finds_the_longest_span_within_one_text_of_the_corpus() -> None:
    corpus = ["a b c d", "e f g", "c d e", "x a b"]
    texts = {
        "a b c d e f g": 4,  # not 7, for which two texts would have to be joined
        "b c d e f": 3,
        "a b x a b": 3,
        "q r": 0,
        "": 0,
        "g": 1,
        "d d d": 1,
    }
    for text, longest in texts.items():
        found = figures("copying", predictions=[text.split()], corpus=[words.split() for words in corpus])
        assert found["longest"] == longest, text


def test_copying_aggregates_over_the_texts() -> None:
    text = [f"w{number}" for number in range(30)]
    found = figures(
        "copying", predictions=[text[:20], text[5:17], ["no"], text[:10] + text[15:25]], corpus=iter([text])
    )
    assert found == {
        "texts": 4,
        "mean_longest": (20 + 12 + 0 + 10) / 4,
        "median_longest": 11.0,
        "longest": 20,
        "share_10": 0.75,
        "share_15": 0.25,
        "share_20": 0.25,
    }


@pytest.mark.parametrize("seed", range(3))
def test_copying_agrees_with_brute_force(seed: int) -> None:
    draw = random.Random(seed)
    corpus, texts = ([[draw.choice("abcd") for _ in range(draw.randrange(25))] for _ in range(15)] for _ in range(2))

    def longest(text: list[str]) -> int:
        spans = (text[start:end] for end in range(len(text) + 1) for start in range(end))
        joined = [f" {' '.join(other)} " for other in corpus]
        return max((len(span) for span in spans if any(f" {' '.join(span)} " in other for other in joined)), default=0)

    found = [figures("copying", predictions=[text], corpus=corpus)["longest"] for text in texts]
    assert found == [longest(text) for text in texts]


def test_nothing_is_copied_from_an_empty_corpus() -> None:
    assert figures("copying", predictions=[["a", "b"]], corpus=[])["longest"] == 0


def test_diversity_by_hand() -> None:
    found = figures("diversity", predictions=[list("abcde"), list("abcdf")], real_lengths=[5, 8])
    assert found == pytest.approx(
        {
            "distinct_1": 6 / 10,
            "distinct_2": 5 / 8,
            "distinct_3": 4 / 6,
            # the other text has all but the last of a text's spans of 1 to 4 words
            "self_bleu": (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25,
            "repeated_4": 0.0,
            "mean_length": 5.0,
            "sd_length": 0.0,
            "length_distance": 1.5,
        }
    )


def test_a_text_that_repeats_itself_and_one_that_is_shorter_than_all_others() -> None:
    repeating = list("abcdabcd")
    found = figures("diversity", predictions=[repeating])
    # the last of the spans abcd, bcda, cdab, dabc, abcd is a repetition
    assert found["repeated_4"] == pytest.approx(1 / 5)
    assert found["self_bleu"] == 0
    short, long = list("abcd"), list("abcdef")
    # the long text contains the short one, whose BLEU is the brevity penalty
    expected = (math.exp(1 - 6 / 4) + (4 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25) / 2
    assert figures("diversity", predictions=[short, long])["self_bleu"] == pytest.approx(expected)


def test_bleu_clips_a_span_to_its_highest_count_in_another_text() -> None:
    twice, once, thrice = list("abcdxabcd"), list("abcdy"), list("abcdzabcdzabcd")
    # two of the third's three "a b c d" are counted; "x", "y" and "z" are in one text each
    of_third = (8 / 14 * 6 / 13 * 4 / 12 * 2 / 11) ** 0.25
    of_first = (8 / 9 * 6 / 8 * 4 / 7 * 2 / 6) ** 0.25
    of_second = (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25 * math.exp(1 - 9 / 5)
    found = figures("diversity", predictions=[twice, once, thrice])["self_bleu"]
    assert found == pytest.approx((of_first + of_second + of_third) / 3)


@pytest.fixture(scope="module")
def wines() -> dict[str, Any]:
    """Return training texts with one label's words each, and texts with words of their own or another label."""
    red, white = (
        [f"{fruit} {number} and {oak}" for number in range(25)]
        for fruit, oak in (("plum", "tannin"), ("lime", "chalk"))
    )
    return {
        "train_texts": [*red, *white, "fig"],
        "train_labels": ["Malbec"] * 25 + ["Riesling"] * 25 + ["Picpoul"],
        "predictions": ["ripe plum", "plum tannin", "lime", "chalk and lime", "fig"],
        "references": ["Malbec", "Riesling", "Riesling", "Riesling", "Picpoul"],
    }


def test_conditioning_counts_the_labels_that_are_recovered(wines: dict[str, Any]) -> None:
    found = figures("conditioning", **wines)
    assert found == {
        "rate": 0.75,
        "baseline": pytest.approx(1 / 4),
        "texts": 4,
        "classes": 2,
        "recovered": [1.0, 0.0, 1.0, 1.0, None],
    }
    assert figures("conditioning", **wines, max_train_texts=20, seed=3)["texts"] == 4


def test_conditioning_needs_two_labels_with_enough_texts_and_a_prompt_with_one(wines: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="0 labels have 30 texts to train on, and two are needed"):
        figures("conditioning", **wines, min_texts=30)
    with pytest.raises(ValueError, match="no prompt has a label with 20 texts"):
        figures("conditioning", **wines | {"references": ["Picpoul"] * 5})


def test_figures_are_json(wines: dict[str, Any]) -> None:
    for metric, inputs in {
        "conditioning": wines,
        "copying": {"predictions": [["a"]], "corpus": [["a"]]},
        "diversity": {"predictions": [["a"], ["b"]], "real_lengths": [1]},
        "word_perplexity": {"predictions": [[-1.0]], "references": [[5]], "end_id": END, "characters": [3]},
    }.items():
        assert json.loads(json.dumps(figures(metric, **inputs))), metric


TEXTS = ["Ripe plum, ripe oak.", "Dry plum!"]
WORDS = [["ripe", "plum", ",", "ripe", "oak", "."], ["dry", "plum", "!"]]


def test_texts_and_their_words_give_the_same_figures(wines: dict[str, Any]) -> None:
    assert figures("diversity", predictions=TEXTS) == figures("diversity", predictions=WORDS)
    assert figures("copying", predictions=TEXTS, corpus=TEXTS[:1]) == figures(
        "copying", predictions=WORDS, corpus=WORDS[:1]
    )
    split = {name: [text.split() for text in wines[name]] for name in ("predictions", "train_texts")}
    assert figures("conditioning", **wines | split) == figures("conditioning", **wines)


def test_combined_metrics_ignore_each_others_settings() -> None:
    combined = evaluate.combine([load_metric("copying"), load_metric("diversity")])
    found = combined.compute(predictions=TEXTS, corpus=TEXTS[:1], thresholds=[3], real_lengths=[4])
    assert found == {
        **figures("copying", predictions=TEXTS, corpus=TEXTS[:1], thresholds=[3]),
        **figures("diversity", predictions=TEXTS, real_lengths=[4]),
    }


@pytest.mark.parametrize("name", METRICS)
def test_no_texts_are_an_error(name: str) -> None:
    with pytest.raises(ValueError, match="there is no text: predictions is empty"):
        figures(name, predictions=[], references=[])


@pytest.mark.parametrize("name", METRICS)
def test_each_folder_is_a_metric_space(name: str) -> None:
    folder = FOLDER / name
    card = RepoCard.load(folder / "README.md", ignore_metadata_errors=False)
    assert (card.data.sdk, card.data.app_file) == ("gradio", "app.py")
    assert {"evaluate", "metric"} <= set(card.data.tags)
    assert runpy.run_path(str(folder / "app.py"), run_name="app")["metric"].name == name
    required = (folder / "requirements.txt").read_text().split()
    imports = re.findall(r"^(?:import|from) (\w+)", (folder / f"{name}.py").read_text(), re.MULTILINE)
    packages = {"sklearn": "scikit-learn"}
    outside = {packages.get(module, module) for module in imports if module not in sys.stdlib_module_names}
    assert outside <= {re.split("[<>=]", line)[0] for line in required}
