"""The tokenizer: the class's scheme, natural spacing, and files that load without this package."""

import hashlib
import itertools
import json
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support import reference_scheme
from support.refused import refused
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from wine_gpt.config import DataConfig
from wine_gpt.data.reviews import load_reviews, texts
from wine_gpt.data.sources import SAMPLE_PATH
from wine_gpt.tokenizer import class_words, encode_reviews, load_tokenizer, save_tokenizer, train_tokenizer
from wine_gpt.tokenizer.files import fingerprint
from wine_gpt.tokenizer.schemes import BOS, EOS, PAD, UNK
from wine_gpt.tokenizer.words import word_ends

GOLDEN = Path(__file__).parent / "golden" / "sample_keras.json"
REAL_REVIEWS = Path(__file__).parents[2] / "shared" / "data" / "winemag-data-first-8000.json"

# every character that Unicode assigns, and more often those that are typical of reviews
UNICODE = st.text(st.characters(exclude_categories=["Cs", "Cn"]))
REVIEW_LIKE = st.text(st.sampled_from(" \t\n\u00a0\\'\".,:;!?-/()$%#+0123456789abcsABCÀéßİıΣσςǅ’“—"))
ANY_TEXT = st.one_of(UNICODE, REVIEW_LIKE, st.builds(str.__add__, UNICODE, REVIEW_LIKE))


@pytest.fixture(scope="module")
def sample_texts() -> list[str]:
    splits = load_reviews(DataConfig()).splits
    return [text for split in splits.values() for text in texts(split)]


@pytest.fixture(scope="module")
def tokenizer(sample_texts: list[str]) -> PreTrainedTokenizerFast:
    return train_tokenizer(sample_texts)


@pytest.fixture(scope="module")
def folder(tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(tokenizer, path)
    return path


@pytest.fixture(scope="module")
def real_texts() -> list[str]:
    if not REAL_REVIEWS.exists():
        pytest.skip("needs 8,000 real reviews")
    splits = load_reviews(DataConfig(path=str(REAL_REVIEWS))).splits
    return [text for split in splits.values() for text in texts(split)]


def words_of(tokenizer: PreTrainedTokenizerFast) -> list[str]:
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    return sorted(vocabulary, key=lambda word: vocabulary[word])


def plain_ids(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    encoded: list[int] = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return encoded


# the class's scheme


@pytest.mark.parametrize("size", [10_000, 500])
def test_vocabulary_and_ids_are_those_of_keras_on_the_bundled_sample(size: int) -> None:
    records = json.loads(SAMPLE_PATH.read_text(encoding="utf-8"))
    fields = [[record[field] for field in ("country", "province", "variety", "description")] for record in records]
    reviews = [" : ".join(["wine review", *values]) for values in fields if None not in values]
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))[str(size)]
    tokenizer = train_tokenizer(reviews, size)
    assert words_of(tokenizer)[2:-2] == golden["vocabulary"][2:]
    encoded = [plain_ids(tokenizer, text) for text in reviews]
    assert hashlib.sha256(json.dumps(encoded).encode()).hexdigest() == golden["ids_sha256"]


@given(st.lists(ANY_TEXT, min_size=1), ANY_TEXT, st.integers(3, 30))
def test_vocabulary_and_ids_follow_the_scheme_for_any_text(known: list[str], unseen: str, size: int) -> None:
    expected = reference_scheme.vocabulary(known, size)
    assume(len(expected) > 2)
    tokenizer = train_tokenizer(known, size)
    assert words_of(tokenizer) == [*expected, BOS, EOS]
    texts = [*known, unseen]
    assert [plain_ids(tokenizer, text) for text in texts] == reference_scheme.ids(texts, expected)


@given(st.lists(ANY_TEXT, min_size=1, max_size=5))
def test_training_examples_have_the_ids_of_the_saved_tokenizer(
    tokenizer: PreTrainedTokenizerFast, unseen: list[str]
) -> None:
    expected = [[tokenizer.bos_token_id, *plain_ids(tokenizer, text), tokenizer.eos_token_id] for text in unseen]
    assert encode_reviews(tokenizer, unseen) == expected


def test_real_reviews_have_the_ids_of_the_scheme(real_texts: list[str]) -> None:
    tokenizer, words = train_tokenizer(real_texts), reference_scheme.vocabulary(real_texts, 10_000)
    assert words_of(tokenizer) == [*words, BOS, EOS]
    expected = reference_scheme.ids(real_texts, words)
    assert [plain_ids(tokenizer, text) for text in real_texts] == expected
    assert [ids[1:-1] for ids in encode_reviews(tokenizer, real_texts)] == expected


def test_special_tokens_have_the_first_and_last_ids(tokenizer: PreTrainedTokenizerFast) -> None:
    assert (tokenizer.pad_token_id, tokenizer.unk_token_id) == (0, 1)
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (len(tokenizer) - 2, len(tokenizer) - 1)
    assert tokenizer("wine").input_ids == [tokenizer.bos_token_id, *plain_ids(tokenizer, "wine")]
    assert tokenizer("").input_ids == [tokenizer.bos_token_id]
    assert tokenizer(["wine", "red wine"], padding=True).input_ids[0][-1] == tokenizer.pad_token_id


def test_the_vocabulary_has_at_most_the_configured_size() -> None:
    tokenizer = train_tokenizer(["b b b a a a c c d"], vocab_size=5)
    assert words_of(tokenizer) == [PAD, UNK, "b", "a", "c", BOS, EOS]
    assert plain_ids(tokenizer, "a d") == [3, 1]


@given(st.sampled_from([PAD, UNK, BOS, EOS]), ANY_TEXT, ANY_TEXT)
def test_a_text_that_spells_a_special_token_has_plain_words(
    tokenizer: PreTrainedTokenizerFast, special: str, before: str, after: str
) -> None:
    known = train_tokenizer([f"[ {special[1:-1]} ] {before} {after}"])
    text = f"{before}{special}{after}"
    special_ids = {known.pad_token_id, known.bos_token_id, known.eos_token_id}
    assert not special_ids & set(plain_ids(known, text))
    assert len(plain_ids(known, text)) == len(reference_scheme.spaced_words(text))
    assert not special_ids & set(encode_reviews(known, [text])[0][1:-1])


@given(st.text(alphabet=st.sampled_from("aBcΣÉİ ’'.,:-5\n\r\\e=\u0301\u0338"), max_size=40))
def test_word_ends_are_positions_in_the_text(text: str) -> None:
    text = unicodedata.normalize("NFC", text)
    for line_breaks in (False, True):
        ends = word_ends(text, line_breaks)
        words = class_words(text, line_breaks)
        assert len(ends) == len(words)
        for end, word in zip(ends, words, strict=True):
            assert class_words(text[:end], line_breaks)[-1] == word


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "word"}, "tokenizer.kind is 'word': must be one of words, characters, bpe"),
        ({"vocab_size": 2}, "tokenizer.vocab_size is 2: must be at least 3"),
    ],
    ids=str,
)
def test_a_kind_or_a_size_that_is_impossible_is_refused(settings: dict[str, Any], message: str) -> None:
    assert message in refused(train_tokenizer, ["wine"], **settings)


def test_texts_without_a_word_are_refused() -> None:
    assert "not one word" in refused(train_tokenizer, ["", " \n"])


# decoding


@given(st.data())
def test_a_decoded_beginning_stays_as_more_words_come(tokenizer: PreTrainedTokenizerFast, data: st.DataObject) -> None:
    tricky = [word for word in words_of(tokenizer) if not word.isalpha() or word in {"s", "t", "the", "wine"}]
    ids = st.one_of(
        st.integers(0, len(tokenizer) - 1),
        st.sampled_from(tricky).map(tokenizer.convert_tokens_to_ids),
    )
    assert violations(tokenizer, data.draw(st.lists(ids, max_size=30))) == 0


def test_no_decoded_beginning_of_a_sample_review_changes(
    tokenizer: PreTrainedTokenizerFast, sample_texts: list[str]
) -> None:
    assert sum(violations(tokenizer, plain_ids(tokenizer, text)) for text in sample_texts[:60]) == 0


def test_no_decoded_beginning_of_a_real_review_changes(real_texts: list[str]) -> None:
    tokenizer = train_tokenizer(real_texts)
    # a few, because decoding every beginning takes quadratic time; benchmarks/tokenizer_figures.py does all reviews
    assert sum(violations(tokenizer, plain_ids(tokenizer, text)) for text in real_texts[::100]) == 0


def violations(tokenizer: PreTrainedTokenizerFast, ids: Sequence[int]) -> int:
    beginnings = [tokenizer.decode(ids[:count], skip_special_tokens=True) for count in range(len(ids) + 1)]
    return sum(not longer.startswith(text) for text, longer in itertools.pairwise(beginnings))


@pytest.mark.parametrize(
    "text",
    [
        "wine review : us : california : cabernet sauvignon : it's full-bodied, with plums (and oak).",
        "13.5% alcohol, $15,000 a case; 90 points! 2/3 merlot, 50/50 — drink 2018–2022.",
        'called "big red," it isn\'t shy. they\'d say: "buy it." and the growers\' best?',
        "wine review : france : the '08 is like the '07 [but drier], a light- to medium-bodied u.s. red & no. 1.",
        "château-bottled, rosé d'anjou, nero d'avola and côtes-du-rhône… “old” vines’ fruit",
        "the #1 wine, $9.99: 5+ years",
        "wine review : us : oregon : pinot noir : colour: ruby. nose: plum.",
    ],
)
def test_decoding_gives_natural_spacing(text: str) -> None:
    tokenizer = train_tokenizer([text])
    assert tokenizer.decode(plain_ids(tokenizer, text)).strip() == text


def test_prompt_and_decoded_continuation_make_the_whole_text(
    tokenizer: PreTrainedTokenizerFast, sample_texts: list[str]
) -> None:
    """``pipeline`` decodes only the new words and appends them to the prompt."""
    text = sample_texts[0].lower()
    ids = plain_ids(tokenizer, text)
    prompt = "wine review : " + text.split(" : ")[1]
    count = len(plain_ids(tokenizer, prompt))
    assert prompt + tokenizer.decode(ids[count:]) == tokenizer.decode(ids).strip() == text


def test_at_least_985_of_1000_sample_reviews_are_decoded_unchanged(
    tokenizer: PreTrainedTokenizerFast, sample_texts: list[str]
) -> None:
    assert round_trip_fraction(tokenizer, sample_texts) >= 0.985


def test_at_least_985_of_1000_unseen_real_reviews_are_decoded_unchanged(real_texts: list[str]) -> None:
    half = len(real_texts) // 2
    assert round_trip_fraction(train_tokenizer(real_texts[:half]), real_texts[half:]) >= 0.985


def round_trip_fraction(tokenizer: PreTrainedTokenizerFast, reviews: Sequence[str]) -> float:
    """Return the fraction of the reviews without unknown words that are decoded to their lower-cased text."""
    encoded = [(text, plain_ids(tokenizer, text)) for text in reviews]
    known = [(text, ids) for text, ids in encoded if tokenizer.unk_token_id not in ids]
    assert len(known) > len(reviews) / 4
    same = sum(tokenizer.decode(ids).strip() == re.sub(" +", " ", text.lower()).strip() for text, ids in known)
    return same / len(known)


# its files


def test_transformers_loads_it(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    text = "Wine review : France : Alsace : Riesling : It's full-bodied, at 13.5% alcohol."
    plain = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(text)["input_ids"]
    assert (plain(text)["input_ids"], plain.eos_token_id) == (ids, tokenizer.eos_token_id)
    assert plain.decode(ids, skip_special_tokens=True) == tokenizer.decode(ids, skip_special_tokens=True)


def test_its_patterns_have_no_oniguruma_anchors(folder: Path) -> None:
    """JavaScript, and so transformers.js, has neither of Oniguruma's anchors G and K."""
    assert not re.findall(r"\\\\[GK]", (folder / "tokenizer.json").read_text(encoding="utf-8"))


def test_its_files_name_a_class_of_transformers_4_and_no_code(folder: Path) -> None:
    assert sorted(file.name for file in folder.iterdir()) == ["tokenizer.json", "tokenizer_config.json"]
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    # transformers 5 would write TokenizersBackend, which 4 does not have
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert "auto_map" not in config
    assert (config["padding_side"], config["add_bos_token"]) == ("right", True)
    assert not config.get("split_special_tokens")


def test_other_tools_can_end_a_text_by_its_token(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    """TRL and others append ``eos_token`` to a text before they encode it."""
    plain = AutoTokenizer.from_pretrained(folder)
    assert plain("wine" + plain.eos_token).input_ids == [*tokenizer("wine").input_ids, tokenizer.eos_token_id]
    plain.add_tokens(["<rose>"], special_tokens=True)
    assert plain("wine <rose>").input_ids[-1] == len(tokenizer)


def test_the_loaded_tokenizer_equals_the_saved_one(
    folder: Path, tokenizer: PreTrainedTokenizerFast, sample_texts: list[str], tmp_path: Path
) -> None:
    loaded = load_tokenizer(folder)
    assert encode_reviews(loaded, sample_texts) == encode_reviews(tokenizer, sample_texts)
    assert loaded(sample_texts[0]) == tokenizer(sample_texts[0])
    assert plain_ids(loaded, "[EOS]") == plain_ids(tokenizer, "[EOS]")
    assert fingerprint(loaded) == fingerprint(tokenizer)
    # fine-tuning saves its base's tokenizer again
    save_tokenizer(loaded, tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_another_packages_tokenizer_encodes_in_its_own_way(tmp_path: Path) -> None:
    """This one keeps capitals."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    core = Tokenizer(models.WordLevel({"[UNK]": 0, "Wine": 1, "red": 2, "<s>": 3, "</s>": 4}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    other = PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="[UNK]", pad_token="[UNK]", bos_token="<s>", eos_token="</s>"
    )
    other.save_pretrained(tmp_path)
    assert encode_reviews(load_tokenizer(tmp_path), ["Wine red wine"]) == [[3, 1, 2, 0, 4]]


def damage(folder: Path, damaged: dict[str, Any]) -> None:
    for name, change in damaged.items():
        file = folder / name
        if change is None:
            file.unlink()
        elif isinstance(change, str):
            file.write_text(change, encoding="utf-8")
        else:
            content = json.loads(file.read_text(encoding="utf-8"))
            file.write_text(json.dumps({**content, **change}), encoding="utf-8")


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        ({"tokenizer.json": None}, "holds no tokenizer.json"),
        ({"tokenizer.json": "{"}, "tokenizer.json is not JSON"),
        ({"tokenizer_config.json": {"bos_token": None}}, "has no bos token"),
    ],
)
def test_a_damaged_folder_is_named(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, damaged: dict[str, Any], message: str
) -> None:
    save_tokenizer(tokenizer, tmp_path)
    damage(tmp_path, damaged)
    error = refused(load_tokenizer, tmp_path)
    assert message in error
    assert str(tmp_path) in error
