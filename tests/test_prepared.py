"""The process that reads and tokenizes the data for a training: what it hands over, and how it ends."""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from datasets import Dataset
from filelock import FileLock
from support.local_server import PATIENCE
from support.processes import children
from support.refused import refused
from support.small_run import write_reviews
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from wine_gpt.config import DataConfig, PretrainConfig, TokenizerConfig
from wine_gpt.config_io import build_config, to_flat
from wine_gpt.data.batching import collate, cut_texts, positions_of
from wine_gpt.data.report import DataReport
from wine_gpt.data.tokenized import TokenizedReviews, locate
from wine_gpt.errors import UserError
from wine_gpt.tokenizer import reading_process, save_tokenizer, train_tokenizer
from wine_gpt.tokenizer.encoding import TOKENIZED
from wine_gpt.tokenizer.files import fingerprint
from wine_gpt.tokenizer.prepare import prepare
from wine_gpt.tokenizer.prepared import PreparedReviews, prepared_by
from wine_gpt.tokenizer.reading_process import RUN_CHILD, ReadingProcess
from wine_gpt.tokenizer.train import train_on_reviews

CONFIG = PretrainConfig()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, of this process and of the child."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> DataConfig:
    """Return the settings of a few reviews, which are soon read."""
    return DataConfig(path=str(write_reviews(tmp_path_factory.mktemp("prepared") / "reviews.json")))


def read(config: PretrainConfig) -> tuple[PreparedReviews, list[DataReport]]:
    reports: list[DataReport] = []
    with ReadingProcess(config, held_out=True) as reading:
        return prepared_by(reading, config, reports.append), reports


def test_the_ids_in_a_file_are_those_of_the_dataset(tmp_path: Path) -> None:
    rows = [list(range(10 * row, 10 * row + 2 + row % 5)) for row in range(11)]
    made = Dataset.from_dict({"row": list(range(11))}).map(
        lambda batch: {
            "input_ids": [rows[row] for row in batch["row"]],
            "length": [len(rows[row]) for row in batch["row"]],
        },
        batched=True,
        remove_columns=["row"],
        features=TOKENIZED,
        # four record batches
        writer_batch_size=3,
        batch_size=3,
        cache_file_name=str(tmp_path / "ids.arrow"),
    )
    found = TokenizedReviews.from_dict(json.loads(json.dumps(locate(made).to_dict())))
    assert len(found) == 11
    assert cut_texts(found, 3) == cut_texts(made, 3)
    assert positions_of(found, 3).tolist() == positions_of(made, 3).tolist()
    indices = np.array([10, 0, 2, 3, 3, 8])
    ours, theirs = collate(found, indices, 4, 99), collate(made, indices, 4, 99)
    assert ours.input_ids.tolist() == theirs.input_ids.tolist()
    assert ours.labels.tolist() == theirs.labels.tolist()
    assert len(locate(Dataset.from_dict({name: [] for name in TOKENIZED}, features=TOKENIZED))) == 0


def test_a_child_process_hands_over_what_this_process_would_read(cache: Path, reviews: DataConfig) -> None:
    config = PretrainConfig(data=reviews, tokenizer=TokenizerConfig(kind="bpe", vocab_size=500))
    found, reports = read(config)
    own = prepare(config, True, reports.append)
    assert reports == [own.report, own.report]
    assert (found.fingerprint, found.words, found.poor_fit) == (own.fingerprint, own.words, own.poor_fit)
    assert fingerprint(found.tokenizer) == fingerprint(own.tokenizer)
    assert found.tokenizer.model_max_length == own.tokenizer.model_max_length
    assert found.tokenizer.special_tokens_map == own.tokenizer.special_tokens_map
    for name, split in own.splits.items():
        (rows,) = [split.with_format("numpy")["input_ids"][:]]
        assert [ids.tolist() for ids in found.splits[name].read(np.arange(len(split)))] == [
            row.tolist() for row in rows
        ]


def test_trainings_that_start_at_the_same_time_train_one_tokenizer(
    cache: Path, reviews: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, calls, both_asked = [], itertools.count(1), threading.Event()
    # reading the reviews needs the lock too
    both_read = threading.Barrier(2, timeout=PATIENCE)
    config = PretrainConfig(data=reviews)

    class Lock(FileLock):
        def __enter__(self) -> Self:
            if next(calls) == 2:
                both_asked.set()
            return super().__enter__()

    def train(split: Dataset, data: DataConfig, tokenizer: TokenizerConfig) -> PreTrainedTokenizerFast:
        assert both_asked.wait(PATIENCE), "the other training does not ask for the lock"
        trained.append(train_on_reviews(split, data, tokenizer))
        return trained[-1]

    monkeypatch.setattr("wine_gpt.tokenizer.prepare.FileLock", Lock)
    monkeypatch.setattr("wine_gpt.tokenizer.prepare.train_on_reviews", train)
    with ThreadPoolExecutor() as pool:
        first, second = pool.map(lambda _: prepare(config, True, lambda report: both_read.wait()), range(2))
    assert len(trained) == 1
    assert fingerprint(first.tokenizer) == fingerprint(second.tokenizer) == fingerprint(trained[0])


def test_a_tokenizer_whose_ids_have_gaps_is_refused(cache: Path, tmp_path: Path) -> None:
    words = {word: index for index, word in enumerate(("[PAD]", "[UNK]", "wine", "[BOS]", "[EOS]"))}
    core = Tokenizer(models.BPE({**words, "review": 9}, [], unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "bos_token": "[BOS]", "eos_token": "[EOS]"}
    PreTrainedTokenizerFast(tokenizer_object=core, **special).save_pretrained(tmp_path)
    config = PretrainConfig(data=DataConfig(path="sample"), tokenizer=TokenizerConfig(path=str(tmp_path)))
    message = refused(prepare, config, True, lambda report: None)
    assert f"{tmp_path} has 6 words and the id 9: the ids must have no gaps" in message


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data.line_breaks": True}, "was trained with data.line_breaks false, which is true here: set it as there"),
        ({"tokenizer.kind": "bpe"}, "is of the kind words, and tokenizer.kind is bpe: leave one of them out"),
    ],
)
def test_a_tokenizer_that_is_not_as_the_config_says_is_refused(
    cache: Path, tmp_path: Path, settings: dict[str, object], message: str
) -> None:
    save_tokenizer(train_tokenizer(["wine review : a note"]), tmp_path)
    config = build_config(PretrainConfig, {"tokenizer.path": str(tmp_path), **settings})
    assert f"tokenizer: {tmp_path} {message}" in refused(prepare, config, True, lambda report: None)


def test_an_error_in_the_child_process_is_raised_here_after_the_report(cache: Path) -> None:
    seen: list[DataReport] = []
    config = PretrainConfig(data=DataConfig(validation_fraction=0))
    with (
        ReadingProcess(config, held_out=True) as reading,
        pytest.raises(UserError, match=r"^data: none of the 1,978 texts fell into the validation split"),
    ):
        prepared_by(reading, config, seen.append)
    assert [report.kept for report in seen] == [1978]


@pytest.fixture
def halted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Halt each child process before it has its task, until it is told to end, so that it can't finish earlier."""
    start = reading_process._start

    def start_halted() -> Any:  # noqa: ANN401 - as of _start
        process = start()
        process.send_signal(signal.SIGSTOP)
        return process

    def terminate(process: "subprocess.Popen[str]") -> None:
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)

    monkeypatch.setattr(reading_process, "_start", start_halted)
    monkeypatch.setattr(subprocess.Popen, "terminate", terminate)


def read_while(act: Callable[[int], None]) -> None:
    """Read while a thread acts on the halted child process."""
    before = children(os.getpid())
    with ReadingProcess(CONFIG, held_out=True) as reading:
        (child,) = {*children(os.getpid())} - {*before}
        # after it this process waits for the answer
        threading.Timer(0.3, act, [child]).start()
        prepared_by(reading, CONFIG, lambda report: None)


def test_ctrl_c_ends_the_child_process_and_leaves_no_file(cache: Path, halted: None) -> None:
    before = children(os.getpid())
    # a shell starts background commands with Ctrl-C ignored
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt):
        read_while(lambda child: os.kill(os.getpid(), signal.SIGINT))
    signal.signal(signal.SIGINT, handler)
    assert children(os.getpid()) == before
    assert list(cache.rglob("*.arrow")) == []


def test_a_child_process_that_is_killed_is_one_line(cache: Path, halted: None) -> None:
    with pytest.raises(
        UserError,
        match=r"was killed by SIGKILL, probably for lack of memory: close other programs, or lower data\.max",
    ):
        read_while(lambda child: os.kill(child, signal.SIGKILL))


def test_a_child_process_that_ignores_sigterm_is_killed(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_process, "END_SECONDS", 0.1)
    before = children(os.getpid())
    # a child process inherits that a signal is ignored
    handler = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    reading = ReadingProcess(CONFIG, held_out=True)
    signal.signal(signal.SIGTERM, handler)
    with reading:
        assert len(children(os.getpid())) == len(before) + 1
    assert children(os.getpid()) == before


def test_the_child_process_ends_with_its_parent(cache: Path) -> None:
    request = json.dumps({"settings": to_flat(CONFIG), "held_out": True})
    command = [sys.executable, "-c", RUN_CHILD, *sys.path]
    done = subprocess.run(command, input=f"{request}\n", capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (143, "", "")
    assert list(cache.rglob("*.incomplete")) == []
