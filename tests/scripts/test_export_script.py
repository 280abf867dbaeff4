"""scripts/export.py, as a person types it: the file it writes, what it says, and what it refuses."""

from __future__ import annotations

import sys

import onnxruntime
import pytest

import envs
from agents import MaskableRecurrentPPO, load


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    """The file of an agent of Kuhn poker that has learnt nothing yet."""
    path = tmp_path_factory.mktemp("agent") / "kuhn.zip"
    small = {"cell": "elman", "lstm_hidden_size": 4, "features_dim": 4}
    batch = envs.Batch(envs.make("kuhn_poker"), 4)
    MaskableRecurrentPPO("MlpLstmPolicy", batch, n_steps=8, batch_size=32, policy_kwargs=small).save(path)
    return path


def test_an_agent_is_written_and_the_file_explained(agent, script, tmp_path):
    out = tmp_path / "kuhn.onnx"
    ended = script("export", agent, "--format", "onnx", "--out", out)
    assert (ended.code, ended.err) == (0, "")
    session = onnxruntime.InferenceSession(out)
    told = session.get_modelmeta()
    assert ended.out == f"{out}: {out.stat().st_size:,} bytes\n\n{told.description}\n"
    assert "    observation     uint8 [B, 4] " in ended.out
    assert told.custom_metadata_map["agent"] == "kuhn"
    assert told.custom_metadata_map["game"] == "kuhn_poker"


def test_help_is_there(script):
    ended = script("export", "--help")
    assert ended.code == 0
    assert "python scripts/export.py runs/<run> --format onnx" in ended.out


def test_what_cannot_be_written(agent, refused, tmp_path):
    before = agent.read_bytes()
    refused("export", tmp_path / "none", told="none: there is no such run, checkpoint or agent")
    refused("export", agent, "--out", agent, told="kuhn.zip: expected a name that ends in .onnx")
    assert agent.read_bytes() == before


def test_an_unknown_format_is_told_by_the_command_line(agent, script):
    ended = script("export", agent, "--format", "torch")
    assert ended.code == 2
    assert "torch" in ended.err
    assert "onnx" in ended.err
    assert "Traceback" not in ended.err


def test_without_onnx_one_line_names_the_extra(agent, refused, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    out = tmp_path / "agent.onnx"
    refused("export", agent, "--out", out, told="an ONNX file needs onnx: pip install 'fogbound[onnx]'")
    assert not out.exists()


def test_an_agent_alone_is_written_small(agent, script, refused, tmp_path):
    """Without what trains it, and with float16 its weights take half the room."""
    sizes = {}
    for numbers in ("float32", "float16"):
        out = tmp_path / numbers
        ended = script("export", agent, "--format", "agent", "--numbers", numbers, "--out", out)
        file = tmp_path / f"{numbers}.zip"
        sizes[numbers] = file.stat().st_size
        assert (ended.code, ended.out) == (0, f"{file}: {sizes[numbers]:,} bytes\n")
        assert load(file).game == envs.make("kuhn_poker")
    assert sizes["float16"] < sizes["float32"] < agent.stat().st_size
    refused("export", agent, "--numbers", "float16", told="--numbers is of --format agent, got float16")
