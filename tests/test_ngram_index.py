"""The n-gram index: found spans, false positives, file format, refused files."""

import random
from hashlib import blake2b
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from wine_gpt.errors import UserError
from wine_gpt.evaluation import ngram_index
from wine_gpt.evaluation.ngram_index import NgramIndex, build_index, load_index
from wine_gpt.tokenizer import class_words

N = 6


def sentence(seed: int, words: int = 40) -> str:
    draw = random.Random(seed)
    return " ".join(f"{draw.choice('bcdfgklmnprst')}{draw.choice('aeiou')}n{draw.randrange(30)}" for _ in range(words))


@pytest.fixture(scope="module")
def descriptions() -> list[str]:
    return [sentence(seed) for seed in range(1000)]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, descriptions: list[str]) -> Path:
    path = tmp_path_factory.mktemp("index") / "training_ngrams.safetensors"
    build_index(iter(descriptions), path)
    return path


@pytest.fixture(scope="module")
def index(file: Path) -> NgramIndex:
    return load_index(file)


def test_every_span_of_a_training_review_is_found_in_any_case(index: NgramIndex, descriptions: list[str]) -> None:
    for description in descriptions[::50]:
        words = class_words(description.upper())
        assert index.longest_span(words) == len(words)
        assert index.longest_span(["new", *words[7:20], "new", *words[30:]]) == 13


def test_spans_under_six_words_are_not_found(index: NgramIndex, descriptions: list[str]) -> None:
    words = class_words(descriptions[0])
    assert [index.longest_span(words[:count]) for count in (0, 5, 6, 7)] == [0, 0, 6, 7]


def test_a_span_may_continue_in_a_review_with_the_same_five_words(tmp_path: Path) -> None:
    """With four common words it does not."""
    build_index(["a b c d e f g", "c d e f g h i"], tmp_path / "index")
    index = load_index(tmp_path / "index")
    assert index.longest_span(list("abcdefghi")) == 9
    build_index(["a b c d e f", "d e f g h i"], tmp_path / "index")
    assert load_index(tmp_path / "index").longest_span(list("abcdefghi")) == 6


def test_false_positives_are_at_most_one_in_ten_thousand_spans(index: NgramIndex) -> None:
    spans = wrong = 0
    for seed in range(2000, 4000):
        found = index.contains(class_words(sentence(seed)))
        spans, wrong = spans + len(found), wrong + int(found.sum())
    # with 20 bits and 14 hashes: (1 - exp(-14/20))^14 = 7e-5
    assert spans > 60_000
    assert wrong / spans < 2e-4


def test_the_file_has_the_documented_format(file: Path, descriptions: list[str]) -> None:
    """Read the file by the description of the format alone."""
    with safe_open(file, framework="numpy") as opened:
        metadata = opened.metadata()
        assert list(opened.keys()) == ["filter"]
        bits = opened.get_tensor("filter")
    m, k = int(metadata.pop("bits")), int(metadata.pop("hashes"))
    assert metadata == {"format": "wine_gpt.ngrams.v1", "n": "6", "ngrams": "35000", "reviews": "1000"}
    assert (str(bits.dtype), bits.shape, k) == ("uint8", (m // 8,), 14)
    assert m == 20 * 35_000

    def has(span: str) -> bool:
        digest = blake2b(span.encode(), digest_size=16).digest()
        h1, h2 = (int.from_bytes(half, "little") for half in (digest[:8], digest[8:]))
        positions = [(h1 + i * (h2 | 1)) % 2**64 % m for i in range(k)]
        return all(bits[p >> 3] & 1 << (p & 7) for p in positions)

    words = descriptions[3].split()
    assert all(has(" ".join(words[start : start + N])) for start in range(len(words) - N + 1))
    assert not any(has(" ".join(words[start + 1 : start + N] + words[:1])) for start in range(0, 30, 6))


def test_no_word_can_be_read_from_the_file(file: Path, descriptions: list[str]) -> None:
    content = file.read_bytes()
    words = {word for description in descriptions for word in description.split() if len(word) > 3}
    assert len(words) > 1000
    assert not [word for word in words if word.encode() in content.lower()]


def test_the_size_is_bounded_and_repeated_spans_count_once(
    tmp_path: Path, descriptions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    once = build_index(descriptions[:20], tmp_path / "once")
    twice = build_index(descriptions[:20] * 2, tmp_path / "twice")
    assert (once.ngrams, twice.ngrams, twice.reviews) == (700, 700, 40)
    assert (once.filter == twice.filter).all()
    monkeypatch.setattr(ngram_index, "MAX_BITS", 8 * 1000)
    small = build_index(descriptions, tmp_path / "small")
    assert (len(small.filter), small.hashes) == (1000, 1)
    assert (tmp_path / "small").stat().st_size < 1500
    assert small.longest_span(class_words(descriptions[0])) == 40


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none of 2 reviews has 6 words"):
        build_index(["too short", ""], tmp_path / "index")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match=r"can't write .*none/index: No such file"):
        build_index([sentence(0)], tmp_path / "none" / "index")
    with pytest.raises(UserError, match=r"can't read .*index"):
        load_index(tmp_path / "index")
    (tmp_path / "index").write_bytes(b"no safetensors")
    with pytest.raises(UserError, match=r"can't read .*index"):
        load_index(tmp_path / "index")


def test_another_files_metadata_is_refused(tmp_path: Path, index: NgramIndex) -> None:
    metadata = {"format": "wine_gpt.ngrams.v1", "n": "6", "hashes": "14", "bits": "8", "ngrams": "1", "reviews": "1"}
    save_file({"filter": index.filter}, tmp_path / "index", metadata=metadata)
    with pytest.raises(UserError, match="holds 700000 bits, but its metadata says 8"):
        load_index(tmp_path / "index")
    save_file({"filter": index.filter}, tmp_path / "index", metadata=metadata | {"format": "v2"})
    with pytest.raises(UserError, match=r"has format 'v2', not 'wine_gpt\.ngrams\.v1'"):
        load_index(tmp_path / "index")
