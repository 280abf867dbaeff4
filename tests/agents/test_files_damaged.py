"""Damaged and foreign files: none is believed, and of a run's checkpoints the newest whole one is found."""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile

import pytest
import torch
from saved import TRAIN, damage, refused, refused_when_saved, step

import agents
from agents import MaskableRecurrentPPO, load
from agents.files import MANIFEST, CheckpointError, point, read, read_tensors, save_folder

DAMAGES = {
    "flipped": lambda folder: damage(folder),
    "truncated": lambda folder: (folder / "training.safetensors").write_bytes(b""),
    "no manifest": lambda folder: (folder / MANIFEST).unlink(),
    "gone": lambda folder: shutil.rmtree(folder),
    "pointer of nothing": lambda folder: (folder.parents[1] / "latest.json").write_text("", encoding="utf-8"),
    "pointer astray": lambda folder: (folder.parents[1] / "latest.json").write_text(
        '{"checkpoint": "no"}', encoding="utf-8"
    ),
    "no pointer": lambda folder: (folder.parents[1] / "latest.json").unlink(),
}


@pytest.mark.parametrize("how", DAMAGES)
def test_the_newest_whole_checkpoint_takes_the_place_of_a_damaged_one(run, how):
    DAMAGES[how](step(run, 192))
    newest = 192 if "pointer" in how else 128
    with pytest.warns(UserWarning, match=f"the newest whole one is used instead, step_{newest}"):
        files = read(run)
    assert files == read(step(run, newest))
    with pytest.warns(UserWarning, match=f"step_{newest}"):
        agents.load(run)


def test_the_best_is_replaced_in_the_same_way(run):
    point(run, "best", step(run, 64))
    damage(step(run, 64))
    with pytest.warns(UserWarning, match=r"step_64: policy.safetensors is damaged .*instead, step_192"):
        assert read(run, "best") == read(step(run, 192))
    assert read(run)  # of the latest there is nothing to say


def test_if_none_is_whole_one_error_lists_them(run):
    for n in (64, 128, 192):
        damage(step(run, n))
    with pytest.raises(CheckpointError, match="none of its checkpoints is whole") as error:
        read(run)
    assert "\n" not in str(error.value)
    assert all(f"step_{n}: policy.safetensors is damaged" in str(error.value) for n in (64, 128, 192))


def test_nothing_outside_the_run_takes_its_place(run, tmp_path):
    """Of another run's checkpoints neither a pointer nor a link leads to one."""
    other = shutil.copytree(step(run, 192), tmp_path / "step_999")
    (run / "checkpoints" / "step_999").symlink_to(other)
    (run / "latest.json").write_text('{"checkpoint": "../step_999"}', encoding="utf-8")
    with pytest.warns(UserWarning, match="names no checkpoint of this run.*instead, step_192"):
        read(run)


# ---------------------------------------------------------------- files and folders by themselves


def test_there_is_nothing(tmp_path):
    refused(tmp_path / "agent", FileNotFoundError, "there is no such run, checkpoint or agent")


def test_an_empty_folder_is_no_agent(tmp_path):
    refused(tmp_path, match="holds no checkpoint")


def test_a_truncated_file_is_refused_wherever_it_ends(model, tmp_path):
    model.save(whole := tmp_path / "whole.zip")
    content = whole.read_bytes()
    cut = tmp_path / "cut.zip"
    for length in [*range(0, len(content), len(content) // 100), len(content) - 1]:
        cut.write_bytes(content[:length])
        refused(cut)


def test_a_truncated_checkpoint_is_refused(files, tmp_path):
    path = tmp_path / "agent"
    save_folder(files, path)
    for name in [*files, MANIFEST]:
        content = (path / name).read_bytes()
        for length in (0, len(content) // 2, len(content) - 1 - content.endswith(b"}\n")):
            (path / name).write_bytes(content[:length])
            refused(path)
        (path / name).write_bytes(content)
    load(path)


def test_one_flipped_bit_in_any_file_is_noticed(files, tmp_path):
    path = tmp_path / "agent"
    save_folder(files, path)
    for name in [*files, MANIFEST]:
        content = (path / name).read_bytes()
        for place in (0, len(content) // 3, len(content) // 2, len(content) - 3):
            for bit in (0, 5):
                flipped = bytearray(content)
                flipped[place] ^= 1 << bit
                (path / name).write_bytes(flipped)
                refused(path)
        (path / name).write_bytes(content)
    load(path)


def test_a_flipped_bit_in_a_zip_is_noticed_or_does_no_harm(model, tmp_path):
    """Dates and attributes of entries mean nothing; a flip elsewhere is refused. Each bit of the directory
    at the end and of one entry's header, and some bits of everything else."""
    model.save(whole := tmp_path / "whole.zip")
    expected, content = read(whole), whole.read_bytes()
    directory = zipfile.ZipFile(whole).start_dir
    places = [*range(50), *range(directory, len(content)), *range(50, directory, directory // 50)]
    flipped, messages = tmp_path / "flipped.zip", []
    for place in places:
        for bit in range(8):
            damaged = bytearray(content)
            damaged[place] ^= 1 << bit
            flipped.write_bytes(damaged)
            try:
                assert read(flipped) == expected
            except CheckpointError as error:
                messages.append(str(error))
    assert len(messages) > 4 * len(places)
    assert not any("\n" in message for message in messages)


def test_a_missing_file_is_named(files, tmp_path):
    for name in [*files, MANIFEST]:
        save_folder(files, path := tmp_path / "agent")
        (path / name).unlink()
        refused(path, match=f"{name}(, .*)? is missing|neither latest.json nor {name}")


def test_an_entry_missing_from_a_zip_is_named(model, tmp_path):
    model.save(whole := tmp_path / "whole.zip")
    for left_out in ("policy.safetensors", MANIFEST):
        with zipfile.ZipFile(whole) as old, zipfile.ZipFile(tmp_path / "less.zip", "w") as new:
            for name in old.namelist():
                if name != left_out:
                    new.writestr(name, old.read(name))
        refused(tmp_path / "less.zip", match=f"{left_out} is missing")


class Bomb:
    """Unpickling it creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("form", ["pickle", "torch", "old torch", "sb3", "inside"])
def test_nothing_is_ever_unpickled(form, files, tmp_path):
    """A pickle by itself, torch files old and new, a zip as SB3 writes it, a bomb in place of the weights."""
    exploded, path = tmp_path / "exploded", tmp_path / "agent.zip"
    bomb = pickle.dumps(Bomb(exploded))
    if form == "pickle":
        path.write_bytes(bomb)
    elif form == "torch":
        torch.save(Bomb(exploded), path)
    elif form == "old torch":
        torch.save(Bomb(exploded), path, _use_new_zipfile_serialization=False)
    elif form == "sb3":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("data", json.dumps({"policy_class": {":type:": "type", ":serialized:": "gASV"}}))
            archive.writestr("policy.pth", bomb)
    else:
        save_folder(files | {"policy.safetensors": bomb, "ema.safetensors": bomb}, path)
    refused(path)
    refused(path, reader=MaskableRecurrentPPO.load)
    assert not exploded.exists()
    pickle.loads(bomb).close()  # noqa: S301  the bomb is live
    assert exploded.exists()


def test_a_plain_text_file_is_no_agent(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("an agent, honestly\n", encoding="utf-8")
    refused(path, match="is not a fogbound agent or is damaged")


def test_a_compressed_zip_is_refused(model, tmp_path):
    """What is read can be no larger than the file: no small file fills the memory."""
    model.save(whole := tmp_path / "whole.zip")
    with zipfile.ZipFile(whole) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    for method, readable in ((zipfile.ZIP_STORED, True), (zipfile.ZIP_DEFLATED, False)):
        with zipfile.ZipFile(tmp_path / "agent.zip", "w", method) as archive:
            for name, content in entries.items():
                archive.writestr(name, content)
        if readable:
            load(tmp_path / "agent.zip")
        else:
            refused(tmp_path / "agent.zip", match="its entries are compressed")


@pytest.mark.parametrize(
    "target", ["../other", "/etc", "checkpoints/../../other", "none", ".", "a\0b", 7, None]
)
def test_a_pointer_stays_inside_its_run(files, tmp_path, target):
    """`other` is a good checkpoint, but none of this run's."""
    save_folder(files, tmp_path / "other")
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "latest.json").write_text(json.dumps({"checkpoint": target}), encoding="utf-8")
    refused(run)


def test_a_pointer_through_a_link_stays_inside_its_run(files, tmp_path):
    save_folder(files, tmp_path / "other")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "link").symlink_to(tmp_path / "other")
    (tmp_path / "run" / "latest.json").write_text('{"checkpoint": "link"}', encoding="utf-8")
    refused(tmp_path / "run", match="names no checkpoint of this run")


def test_a_manifest_lists_nothing_but_a_checkpoints_files(files, tmp_path):
    """Neither paths out of the folder nor files of other kinds."""
    path = tmp_path / "agent"
    for name in ("../secret", "/etc/passwd", "code.py"):
        save_folder(files, path)
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        manifest["files"][name] = manifest["files"]["agent.json"]
        (path / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
        refused(path, match="the manifest lists other files than a checkpoint's")


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"\x02\0\0\0\0\0\0\0{}"])
def test_tensors_that_are_none_are_refused(files, tmp_path, content):
    save_folder(files | {"policy.safetensors": content, "ema.safetensors": content}, tmp_path / "agent")
    refused(tmp_path / "agent", match="its tensors cannot be read|the weights do not fit")


def test_a_truth_that_is_neither(made, tmp_path):
    """Bytes other than 0 and 1, which torch counts wrongly."""
    content = made[1]["training.safetensors"]
    state = read_tensors(content, "")
    size = int.from_bytes(content[:8], "little")
    first, _ = json.loads(content[8 : 8 + size])["collector.start"]["data_offsets"]
    changed = bytearray(content)
    changed[8 + size + first] = 200
    assert state["collector.start"].dtype == torch.bool
    refused_when_saved(
        made[1] | {"training.safetensors": bytes(changed)}, tmp_path / "a", "neither true nor false", TRAIN
    )
