"""Checkpoints appear completely or not at all, are verified on load, and a damaged one is named and skipped."""

import contextlib
import hashlib
import itertools
import json
import os
import re
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.system_faults import calls, disk, needs_strace, run_in_subprocess, traced

from wine_gpt.errors import UserError
from wine_gpt.training import checkpoint
from wine_gpt.training.checkpoint import Checkpoint

FILES = ("weights.safetensors", "optimizer.safetensors", "state.json", "manifest.json")


def example(step: int) -> Checkpoint:
    tensors = {
        "weights": {"a": torch.full((3, 2), float(step)), "b": torch.arange(4)},
        "optimizer": {"0.exp_avg": torch.randn(5, generator=torch.Generator().manual_seed(step))},
    }
    return Checkpoint(step, tensors, {"seed": 1, "losses": [0.1, 0.2]})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 1)


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def make_unreadable(file: Path) -> None:
    file.unlink()
    # reading it is an error of input or output, as that of a bad disk
    file.symlink_to("/proc/self/mem")


def test_load_returns_what_was_saved(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path / "new", example(7), keep=2)
    loaded = checkpoint.load(path)
    assert loaded.step == 7
    assert loaded.state == {"seed": 1, "losses": [0.1, 0.2]}
    for group, tensors in example(7).tensors.items():
        for name, tensor in tensors.items():
            assert torch.equal(loaded.tensors[group][name], tensor)


def test_only_the_newest_are_kept_and_nothing_temporary(tmp_path: Path) -> None:
    for step in (5, 10, 15, 100):
        checkpoint.save(tmp_path, example(step), keep=2)
    assert names(tmp_path) == ["step-00000015", "step-00000100"]


def test_a_run_that_went_back_to_an_earlier_step_keeps_what_it_saves(tmp_path: Path) -> None:
    for step in (5, 10, 15):
        checkpoint.save(tmp_path, example(step), keep=3)
    saved = checkpoint.save(tmp_path, example(7), keep=3)
    assert names(tmp_path) == ["step-00000005", "step-00000007"]
    found, _ = checkpoint.load_newest(tmp_path)
    assert found is not None
    assert (found.step, saved.name) == (7, "step-00000007")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [truncate, flip_a_bit, Path.unlink, make_unreadable])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(
    tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    checkpoint.save(tmp_path, example(1), keep=5)
    newest = checkpoint.save(tmp_path, example(2), keep=5)
    damage(newest / name)
    with pytest.raises(UserError, match=name):
        checkpoint.load(newest)
    found, problems = checkpoint.load_newest(tmp_path)
    assert found is not None
    assert found.step == 1
    assert len(problems) == 1
    assert str(newest) in problems[0]
    assert name in problems[0]


@pytest.mark.parametrize("name", FILES[:-1])
@pytest.mark.parametrize("damage", [truncate, flip_a_bit])
def test_both_checksums_of_a_damaged_file_are_shown(tmp_path: Path, name: str, damage: Callable[[Path], None]) -> None:
    path = checkpoint.save(tmp_path, example(1), keep=5)
    before = hashlib.sha256((path / name).read_bytes()).hexdigest()
    damage(path / name)
    after = hashlib.sha256((path / name).read_bytes()).hexdigest()
    with pytest.raises(UserError) as error:
        checkpoint.load(path)
    assert str(error.value) == f"checkpoint {path}: {name} is damaged: sha256 {after}, manifest says {before}"


@settings(max_examples=60)
@given(bit=st.integers(0, 2**16))
def test_no_bit_of_the_manifest_flips_unnoticed(bit: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        manifest = checkpoint.save(Path(folder), example(1), keep=5) / "manifest.json"
        content = bytearray(manifest.read_bytes())
        meaning = json.loads(content)
        content[bit // 8 % len(content)] ^= 1 << bit % 8
        # one white space may have become another
        assume(not means(content, meaning))
        manifest.write_bytes(content)
        with pytest.raises(UserError, match=r"manifest\.json is (damaged|not JSON)"):
            checkpoint.load(manifest.parent)


def means(content: bytes, meaning: object) -> bool:
    with contextlib.suppress(ValueError):
        return bool(json.loads(content) == meaning)
    return False


def test_if_all_are_damaged_nothing_starts_over(tmp_path: Path) -> None:
    for step in (1, 2):
        truncate(checkpoint.save(tmp_path, example(step), keep=5) / "weights.safetensors")
    with pytest.raises(UserError, match=r"no good checkpoint.*step-00000002.*step-00000001.*--overwrite"):
        checkpoint.load_newest(tmp_path)


def test_no_checkpoint_is_no_error(tmp_path: Path) -> None:
    assert checkpoint.load_newest(tmp_path / "none") == (None, [])


def save_on_a_full_disk(folder: Path) -> tuple[str, list[str], int]:
    with disk(folder, "size=64k"):
        checkpoint.save(folder, example(1), keep=1)
        large = Checkpoint(2, {**example(2).tensors, "best": {"a": torch.zeros(30_000)}}, {})
        with pytest.raises(UserError) as error:
            checkpoint.save(folder, large, keep=1)
        return str(error.value), names(folder), checkpoint.load(folder / "step-00000001").step


def test_a_full_disk_leaves_the_older_checkpoint_and_names_the_bytes(tmp_path: Path) -> None:
    line, left, step = run_in_subprocess(save_on_a_full_disk, tmp_path)
    assert re.fullmatch(
        rf"can't save step 2 in {tmp_path}: .*No space left on device.*; 120,076 bytes needed, [\d,]+ free; "
        rf"last good checkpoint: {tmp_path}/step-00000001",
        line,
    ), line
    assert (left, step) == (["step-00000001"], 1)


def save_next(folder: Path) -> None:
    checkpoint.save(folder, example(2), keep=1)


@needs_strace
def test_content_is_synced_before_it_is_renamed(tmp_path: Path) -> None:
    """After a power loss a name in the folder has its content, because of the order of the system calls."""
    folder = tmp_path / "runs" / "base" / "checkpoints"
    watched = ["-e", "trace=write,mkdir,fsync,rename,renameat,renameat2"]
    code, log = traced(tmp_path / "log", watched, save_next, folder)
    assert code == 0
    made = calls(log)
    temporary = folder / ".tmp-step-00000002"
    renamed = made.index(("rename", str(temporary)))
    before, after = made[:renamed], made[renamed + 1 :]
    # safetensors writes under another name
    last_write = max(i for i, (call, path) in enumerate(before) if (call, Path(path).parent) == ("write", temporary))
    for name in FILES:
        assert before.index(("fsync", str(temporary / name))) > last_write
    assert before[-2:] == [("fsync", str(temporary / "manifest.json")), ("fsync", str(temporary))]
    assert after == [("fsync", str(folder))]
    for parent in (folder.parent, folder.parent.parent, tmp_path):
        assert ("fsync", str(parent)) in before


def killed_at_each(call: str, work: Path, prepare: Callable[[Path], None]) -> Iterator[Path]:
    """Yield folders in which a save was killed at the first such call, the second and so on; the last has no kill."""
    for moment in itertools.count(1):
        folder = work / str(moment)
        prepare(folder)
        options = ["-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={moment}"]
        code, _ = traced(work / "log", options, save_next, folder)
        assert code in (0, -signal.SIGKILL)
        yield folder
        if code == 0:
            return


def save_first(folder: Path) -> None:
    checkpoint.save(folder, example(1), keep=1)


def save_first_and_damage_next(folder: Path) -> None:
    save_first(folder)
    truncate(checkpoint.save(folder, example(2), keep=2) / "weights.safetensors")


@needs_strace
@pytest.mark.parametrize(
    ("call", "calls_at_least"),
    [("write", 4), ("fsync", 6), ("rename", 2), ("renameat", 2), ("mkdir", 1), ("unlinkat", 4), ("rmdir", 1)],
)
def test_killed_at_any_system_call_of_a_save_a_good_checkpoint_remains(
    tmp_path: Path, call: str, calls_at_least: int
) -> None:
    tried = 0
    for folder in killed_at_each(call, tmp_path, save_first):
        tried += 1
        found, problems = checkpoint.load_newest(folder)
        assert found is not None
        assert problems == []
        assert found.step in (1, 2)
        checkpoint.save(folder, example(3), keep=1)
        assert names(folder) == ["step-00000003"]
    assert tried > calls_at_least


@needs_strace
@pytest.mark.parametrize("call", ["rename", "unlinkat"])
def test_killed_while_a_damaged_checkpoint_is_replaced_the_one_before_remains(tmp_path: Path, call: str) -> None:
    for folder in killed_at_each(call, tmp_path, save_first_and_damage_next):
        found, _ = checkpoint.load_newest(folder)
        assert found is not None
        assert found.step in (1, 2)
