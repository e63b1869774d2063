"""Checkpoints appear whole or not at all, are verified on load, and a damaged one is named and passed over."""

import json
import multiprocessing
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from wine_gpt import checkpoint
from wine_gpt.checkpoint import Checkpoint
from wine_gpt.errors import UserError

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


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [truncate, flip_a_bit, Path.unlink])
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


def test_both_checksums_of_a_damaged_file_are_shown(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, example(1), keep=5)
    expected = json.loads((path / "manifest.json").read_text())["sha256"]["state.json"]
    (path / "state.json").write_text("{}")
    with pytest.raises(UserError) as error:
        checkpoint.load(path)
    assert expected in str(error.value)
    assert "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a" in str(error.value)  # sha256 of {}


def test_if_all_are_damaged_nothing_starts_over(tmp_path: Path) -> None:
    for step in (1, 2):
        truncate(checkpoint.save(tmp_path, example(step), keep=5) / "weights.safetensors")
    with pytest.raises(UserError, match=r"no good checkpoint.*step-00000002.*step-00000001.*--overwrite"):
        checkpoint.load_newest(tmp_path)


def test_no_checkpoint_is_no_error(tmp_path: Path) -> None:
    assert checkpoint.load_newest(tmp_path / "none") == (None, [])


def test_a_full_disk_leaves_the_older_checkpoint_and_names_the_bytes(tmp_path: Path) -> None:
    """A limit on the file size stands for the full disk: a write fails half way."""
    checkpoint.save(tmp_path, example(1), keep=1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))
    try:
        with pytest.raises(UserError, match=r"can't save step 2 .* bytes needed, .* free; .*step-00000001"):
            checkpoint.save(tmp_path, example(2), keep=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert names(tmp_path) == ["step-00000001"]
    assert checkpoint.load(tmp_path / "step-00000001").step == 1


def test_files_are_synced_before_the_rename_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, str]] = []
    real_fsync, real_rename = os.fsync, Path.rename

    def fsync(handle: int) -> None:
        calls.append(("fsync", Path(os.readlink(f"/proc/self/fd/{handle}")).name))
        real_fsync(handle)

    def rename(self: Path, target: Path) -> Path:
        calls.append(("rename", self.name))
        return real_rename(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", rename)
    checkpoint.save(tmp_path / "run", example(3), keep=1)
    renamed = calls.index(("rename", ".tmp-step-00000003"))
    synced_before = [name for _, name in calls[:renamed]]
    assert set(synced_before) == {*FILES, ".tmp-step-00000003"}
    assert synced_before[-2:] == ["manifest.json", ".tmp-step-00000003"]
    assert calls[renamed + 1 :] == [("fsync", "run")]


@pytest.mark.parametrize("moment", range(1, 8))
def test_killed_at_any_sync_of_a_save_a_good_checkpoint_remains(tmp_path: Path, moment: int) -> None:
    checkpoint.save(tmp_path, example(1), keep=1)

    def save_and_die() -> None:
        real, count = os.fsync, 0

        def fsync(handle: int) -> None:
            nonlocal count
            count += 1
            if count == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            real(handle)

        os.fsync = fsync
        checkpoint.save(tmp_path, example(2), keep=1)

    process = multiprocessing.get_context("fork").Process(target=save_and_die)
    process.start()
    process.join()
    # five syncs before the rename, one after it
    assert process.exitcode == (-signal.SIGKILL if moment <= 6 else 0)
    found, problems = checkpoint.load_newest(tmp_path)
    assert found is not None
    assert problems == []
    assert found.step == (1 if moment <= 5 else 2)
    checkpoint.save(tmp_path, example(3), keep=1)
    assert names(tmp_path) == ["step-00000003"]
