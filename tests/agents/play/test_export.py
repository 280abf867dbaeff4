"""The exported file against the policy it was made of, decision by decision."""

from __future__ import annotations

import json
import logging
import sys
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from gymnasium import spaces
from pairs import pairs

import envs
from agents import CELLS, RecurrentPolicy
from agents.net.normalizer import Normalizer
from agents.net.task import World
from agents.play.export import export_onnx, onnx_model
from agents.play.players import Agent

LIMITS = np.array([4.8, 9, 0.42, 9], np.float32)  # CartPole's, with an end to its velocities
CARTPOLE = spaces.Box(-LIMITS, LIMITS)
GAMES = {
    "kuhn_poker": envs.make("kuhn_poker"),
    "phantom_tictactoe": envs.make("phantom_tictactoe"),
    "cartpole": World(CARTPOLE, spaces.Discrete(2)),
    "components": World(CARTPOLE, spaces.MultiDiscrete([3, 2, 4])),
    "numbers": World(CARTPOLE, spaces.Box(-1, 1, (3,))),
}
SHARED = {"shared_lstm": True, "enable_critic_lstm": False}
SHAPES = {  # one way to build a network for each cell; a cell not listed is built as by default
    "elman": SHARED | {"n_lstm_layers": 2, "lstm_kwargs": {"dropout": 0.5}, "activation_fn": "relu"},
    "lstm": SHARED | {"net_arch": {"pi": [8], "vf": [4]}},
    "gru": {"enable_critic_lstm": False, "previous_action": False, "seat_input": False},
}
STEPS = {1: 200, 3: 100, 64: 8}  # by batch size; 1,012 decisions


class Decision(NamedTuple):
    """What is asked, rows of B matches."""

    observation: torch.Tensor
    legal: torch.Tensor
    seat: torch.Tensor
    start: torch.Tensor

    def named(self):
        return {name: x.numpy() for name, x in self._asdict().items() if x.shape[1:] != (0,)}


class Table:
    """B matches of a game. Of a world, whatever its spaces hold: observations, masks and starts at random."""

    def __init__(self, game, matches, seed=0):
        self.game, self.B = game, matches
        self.random = torch.Generator().manual_seed(seed)
        if isinstance(game, World):
            game.observation_space.seed(seed)
        else:
            self.batch = envs.Batch(game, matches, seed=seed)
        self.start = torch.ones(matches, dtype=torch.bool)

    def asks(self):
        if not isinstance(self.game, World):
            batch = self.batch
            return Decision(*(x.clone() for x in (batch.observation, batch.legal, batch.seat, self.start)))
        seen = np.stack([self.game.observation_space.sample() for _ in range(self.B)])
        legal = torch.rand(self.B, self.game.actions, generator=self.random) < 0.6
        legal[:, [0, 3, 5] if self.game.actions == 9 else slice(1)] = True  # of each component, at least one
        return Decision(torch.from_numpy(seen), legal, torch.zeros(self.B, dtype=torch.int64), self.start)

    def hears(self, action):
        if not isinstance(self.game, World):
            self.batch.step(action)
            self.start = self.batch.over.clone()
        else:
            self.start = torch.rand(self.B, generator=self.random) < 0.1


def make_agent(game, cell="gated", **policy):
    """An agent whose weights are not those of a beginner: no zeros, and a head that has opinions."""
    actions = game.action_space if isinstance(game, World) else game.actions
    torch.manual_seed(0)
    sizes = {"lstm_hidden_size": 16, "features_dim": 8} | policy
    made = RecurrentPolicy(game.observation_space, actions, game.seats, cell=cell, **sizes)
    with torch.no_grad():
        made.action_head[-1].weight.mul_(100.0)
        for parameter in made.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return Agent(made, game, "tester")


def opened(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


def zeros(session, matches):
    """The memory of a caller who knows nothing but the file."""
    dtypes = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
    return {
        given.name: np.zeros([matches if n == "B" else n for n in given.shape], dtypes[given.type])
        for given in session.get_inputs()
        if given.name.startswith(("previous", "core_"))
    }


def decide(session, decision, memory):
    """As the head of agents/play/export.py tells a caller."""
    distribution, value, previous, *cores = session.run(None, decision.named() | memory)
    return distribution, value, {"previous": previous} | {f"core_{k}": x for k, x in enumerate(cores)}


def assert_same(ours, theirs):
    torch.testing.assert_close(torch.from_numpy(ours), theirs, rtol=0, atol=1e-5)


# ---------------------------------------------------------------- the same decisions


@pytest.mark.parametrize(("cell", "name"), pairs(CELLS, GAMES))
def test_a_thousand_decisions_are_those_of_the_policy(cell, name):
    game = GAMES[name]
    agent = make_agent(game, cell, **SHAPES.get(cell, {}))
    session = opened(onnx_model(agent))
    starts, seats = 0, set()
    for matches, steps in STEPS.items():
        table, random = Table(game, matches), torch.Generator().manual_seed(1)
        theirs, ours = agent.policy.initial_memory(matches), zeros(session, matches)
        for _ in range(steps):
            asked = table.asks()
            told, theirs = agent.policy.act(*asked, theirs, random)
            distribution, value, ours = decide(session, asked, ours)
            ours["previous"][np.arange(matches), asked.seat.numpy()] = told.action.numpy()
            assert_same(distribution, told.distribution)
            assert_same(value, told.value)
            for k, part in enumerate(theirs.cores):
                assert_same(ours[f"core_{k}"], part)
            assert_same(ours["previous"], theirs.previous)
            starts, seats = starts + int(asked.start.sum()), seats | set(asked.seat.tolist())
            table.hears(told.action)
    assert starts > 68 + 20  # matches ended and others began
    assert seats == set(range(game.seats))


OBSERVATIONS = {
    "planes": spaces.Box(0, 3, (2, 4, 5), np.int8),
    "image": spaces.Box(0, 255, (3, 36, 40), np.uint8),
    "code": spaces.Discrete(5),
    "bits": spaces.MultiBinary(6),
    "dict": spaces.Dict({"at": CARTPOLE, "hand": spaces.MultiDiscrete([3, 4])}),
}


@pytest.mark.parametrize("space", OBSERVATIONS.values(), ids=OBSERVATIONS)
def test_every_encoder_is_exported(space):
    world = World(space, spaces.Discrete(3))
    agent, B = make_agent(world, "elman", **SHARED), 3
    session = opened(onnx_model(agent))
    space.seed(0)
    sampled = [space.sample() for _ in range(B)]
    stacked = (
        {key: np.stack([one[key] for one in sampled]) for key in space}
        if isinstance(space, spaces.Dict)
        else np.stack(sampled)
    )
    start, seat = torch.ones(B, dtype=torch.bool), torch.zeros(B, dtype=torch.int64)
    asked = Decision(world.pack(stacked)[0], torch.ones(B, 3, dtype=torch.bool), seat, start)
    distribution, value, _ = decide(session, asked, zeros(session, B))
    told, _ = agent.policy.act(*asked, agent.policy.initial_memory(B))
    assert_same(distribution, told.distribution)
    assert_same(value, told.value)
    assert len(np.unique(value)) > 1  # it was looked at


# ---------------------------------------------------------------- what the file says and holds


@pytest.fixture(scope="module")
def kuhn():
    """An agent of Kuhn poker with the default network, and its model."""
    agent = make_agent(GAMES["kuhn_poker"])
    return agent, onnx_model(agent)


def test_a_start_clears_whatever_is_in_the_memory(kuhn):
    session, asked = opened(kuhn[1]), Table(GAMES["kuhn_poker"], 3).asks()
    memory = zeros(session, 3)
    garbage = {name: np.full_like(x, 1 if name == "previous" else np.nan) for name, x in memory.items()}
    distribution, value, after = decide(session, asked, memory)
    again, value_again, after_again = decide(session, asked, garbage)
    np.testing.assert_array_equal(distribution, again)
    np.testing.assert_array_equal(value, value_again)
    for name, x in after.items():
        np.testing.assert_array_equal(x, after_again[name])
    assert (after["previous"] == 2).all()  # two actions, 0 and 1; 2 is none


def test_an_illegal_action_has_no_probability(kuhn):
    session, asked = opened(kuhn[1]), Table(GAMES["kuhn_poker"], 3).asks()
    asked = asked._replace(legal=torch.tensor([[True, False], [False, True], [True, True]]))
    distribution, _, _ = decide(session, asked, zeros(session, 3))
    np.testing.assert_array_equal(distribution[:2], [[0, -np.inf], [-np.inf, 0]])
    assert np.exp(distribution[2]).sum() == pytest.approx(1)


def test_inputs_and_outputs_have_names_shapes_and_meanings(kuhn):
    model = kuhn[1]
    session = opened(model)
    told = {x.name: (x.type, x.shape) for x in [*session.get_inputs(), *session.get_outputs()]}
    core = ("tensor(float)", [1, "B", 2, 16])
    assert told == {
        "observation": ("tensor(uint8)", ["B", 4]),
        "legal": ("tensor(bool)", ["B", 2]),
        "seat": ("tensor(int64)", ["B"]),
        "start": ("tensor(bool)", ["B"]),
        "previous": ("tensor(int64)", ["B", 2]),
        **{f"core_{k}": core for k in range(4)},  # h and c, of the actor and of the critic
        "distribution": ("tensor(float)", ["B", 2]),
        "value": ("tensor(float)", ["B"]),
        "previous_known": ("tensor(int64)", ["B", 2]),
        **{f"new_core_{k}": core for k in range(4)},
    }
    assert all(x.doc_string for x in [*model.graph.input, *model.graph.output])
    description = session.get_modelmeta().description
    assert "    core_3          float32 [1, B, 2, 16]    memory" in description
    assert all(f"\n    {name} " in description for name in told)


def test_the_file_says_what_it_plays():
    dark_hex = envs.make("dark_hex", rows=2, cols=2)
    agent = make_agent(dark_hex, "elman", **SHARED)
    told = opened(onnx_model(agent)).get_modelmeta().custom_metadata_map
    assert told["format"] == "fogbound onnx 1"
    assert told["agent"] == "tester"
    assert told["game"] == "dark_hex"
    assert envs.make(told["game"], **json.loads(told["options"])) == dark_hex


def test_what_the_agent_scales_is_scaled_in_the_file():
    """The agent behind the statistics of a VecNormalize, and the file, on the world's own numbers."""
    agent, B = make_agent(GAMES["cartpole"]), 3
    state = {"observation.mean": [1.0, 2.0, 0.1, -1.0], "observation.var": [4.0, 1.0, 0.01, 9.0]}
    state |= {"clip_obs": 1.5, "epsilon": 1e-8}
    agent.scale = Normalizer({name: torch.tensor(x, dtype=torch.float64) for name, x in state.items()})
    seen = LIMITS * np.linspace(-1, 1, B, dtype=np.float32)[:, None]
    legal, seat = torch.ones(B, 2, dtype=torch.bool), torch.zeros(B, dtype=torch.int64)
    start = torch.ones(B, dtype=torch.bool)
    memory = agent.policy.initial_memory(B)
    scaled = torch.from_numpy(agent.scale(seen))
    assert scaled.abs().max() == 1.5
    expected, *_ = agent.policy.weigh(scaled, legal, seat, start, memory)
    session = onnxruntime.InferenceSession(onnx_model(agent).SerializeToString())
    fed = Decision(torch.from_numpy(seen), legal, seat, start).named() | {"previous": memory.previous.numpy()}
    fed |= {f"core_{k}": core.numpy() for k, core in enumerate(memory.cores)}
    np.testing.assert_allclose(session.run(["distribution"], fed)[0], expected.numpy(), atol=1e-6)


def test_a_world_is_told_by_its_spaces_and_box_actions_need_no_mask():
    agent = make_agent(GAMES["numbers"], "elman", **SHARED)
    session = opened(onnx_model(agent))
    told = session.get_modelmeta().custom_metadata_map
    assert "game" not in told
    assert json.loads(told["action_space"])["shape"] == [3]
    assert json.loads(told["observation_space"])["shape"] == [4]
    assert [x.name for x in session.get_inputs()] == ["observation", "seat", "start", "previous", "core_0"]


def test_the_file_holds_no_trace_of_where_it_was_made(kuhn):
    content = kuhn[1].SerializeToString()
    for folder in ("site-packages", "agents/", "stack_trace", sys.prefix):
        assert folder.encode() not in content
    domains = {node.domain for node in kuhn[1].graph.node}
    assert domains == {""}  # plain operators of ONNX, nothing of a library's own
    assert {node.op_type for node in kuhn[1].graph.node}.isdisjoint({"Loop", "Scan", "If"})


def test_exporting_changes_neither_the_agent_nor_the_logging(kuhn):
    agent = kuhn[0]
    before = {name: x.clone() for name, x in agent.policy.state_dict().items()}
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    onnx_model(agent)
    assert logger.level == level
    assert all(parameter.requires_grad for parameter in agent.policy.parameters())
    for name, x in agent.policy.state_dict().items():
        torch.testing.assert_close(x, before[name], rtol=0, atol=0)


# ---------------------------------------------------------------- files, and what is refused


def test_the_file_is_written_as_told(kuhn, tmp_path):
    agent, model = kuhn
    told = export_onnx(agent, tmp_path / "new" / "agent.onnx")
    read = onnx.load(tmp_path / "new" / "agent.onnx")
    assert told == read.doc_string == model.doc_string
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["agent.onnx"]


def test_another_ending_is_refused_and_the_file_kept(kuhn, tmp_path):
    path = tmp_path / "agent.zip"
    path.write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"agent\.zip: expected a name that ends in \.onnx"):
        export_onnx(kuhn[0], path)
    assert path.read_bytes() == b"mine"


@pytest.mark.parametrize("library", ["onnx", "onnxscript"])
def test_without_the_extra_the_error_names_it(kuhn, tmp_path, monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(RuntimeError, match=rf"needs {library}: pip install 'fogbound\[onnx\]'"):
        export_onnx(kuhn[0], tmp_path / "agent.onnx")
    assert list(tmp_path.iterdir()) == []
