"""What an agent thought: the probabilities it drew from, its value, its memory, asked again afterwards."""

from __future__ import annotations

import math

import pytest
import torch
from gymnasium import spaces
from models import model_of
from saved import TICTACTOE

import envs
from agents.net.policy import RecurrentPolicy
from agents.net.task import World
from agents.play.agent_file import load_player
from agents.play.players import Agent, SeatedAgent, fixed_player
from agents.play.thoughts import BEST, Thinker, thinker_of
from envs import Match
from envs.seated import seated_space


@pytest.fixture
def agent(tmp_path):
    torch.manual_seed(5)
    model = model_of(envs.Batch(TICTACTOE, 8), policy_kwargs={"cell": "gated"})
    with torch.no_grad():
        for weight in model.policy.parameters():  # so that it has an opinion
            weight.add_(torch.randn_like(weight) * 0.5)
    model.save(tmp_path / "one.zip")
    return load_player(tmp_path / "one.zip", None)


def played_by(agent):
    """A match of the agent against itself, and what it drew from at each decision."""
    match, told = Match(TICTACTOE, 3), []
    agent.reset(1)
    whole = agent.policy.act

    def watched(*arguments):
        decision, memory = whole(*arguments)
        told.append((decision.distribution[0].exp(), float(decision.value[0]), memory.cores[0].clone()))
        return decision, memory

    agent.policy.act = watched
    while not match.over:
        match.play(agent.act(match.observation(match.seat), match.mask(), match.seat))
    del agent.policy.act
    return match, told


def test_it_is_asked_again_what_it_was_asked(agent):
    match, told = played_by(agent)
    again, thinker = Match(TICTACTOE, 3), Thinker(agent)
    for action, (probabilities, value, cores) in zip(match.actions, told, strict=True):
        seat = again.seat
        thought = thinker.think(again)
        best = sorted(probabilities.tolist(), reverse=True)
        legal = len(again.legal())
        assert [p for _, p in thought.best] == pytest.approx(best[: min(BEST, legal)], abs=1e-6)
        named = {again.game.action_name(a): float(probabilities[a]) for a in again.legal()}
        assert all(named[name] == pytest.approx(p, abs=1e-6) for name, p in thought.best)
        assert thought.value == pytest.approx(value, abs=1e-6)
        expected = -sum(p * math.log(p) for p in probabilities.tolist() if p > 0)
        assert thought.entropy == pytest.approx(expected, abs=1e-5)
        assert thought.hidden == pytest.approx(float(cores[0, 0, seat].norm()), abs=1e-5)
        assert set(thought.gates) == {"i", "f", "o"}
        assert all(0.0 < mean < 1.0 for mean in thought.gates.values())
        thinker.remember(seat, action)
        again.play(action)


def test_the_first_gates_are_those_of_an_empty_memory(agent):
    """At the first decision h = 0: each gate is the sigmoid of its own input alone."""
    match = Match(TICTACTOE, 3)
    thought = Thinker(agent).think(match)
    policy, cell = agent.policy, agent.policy.core.cells[0]
    shown = agent.task.pack(torch.from_numpy(match.observation(0))[None])[0]
    none = policy.no_action.reshape(1, *policy.no_action.shape)
    z = cell.project(policy.features(shown, torch.tensor([0]), none))
    opened = torch.sigmoid(z.detach()).chunk(4, -1)
    expected = {name: float(gate.mean()) for name, gate in zip("ifo", opened[:3], strict=True)}
    assert thought.gates == pytest.approx(expected, abs=1e-6)


def test_the_agent_stays_as_it_is(agent):
    match, _ = played_by(agent)
    before = {name: part.clone() for name, part in agent.state_dict().items()}
    thinker = Thinker(agent)
    again = Match(TICTACTOE, 3)
    for action in match.actions[:3]:
        thinker.think(again)
        thinker.remember(again.seat, action)
        again.play(action)
    assert all(part.equal(before[name]) for name, part in agent.state_dict().items())


def make_world_agent(game, seat):
    """An agent of the world in which one seat is its own."""
    torch.manual_seed(0)
    world = World(seated_space(game, seat), spaces.Discrete(game.actions))
    policy = RecurrentPolicy(world.observation_space, game.actions, 1, lstm_hidden_size=8, features_dim=8)
    return Agent(policy, world, "agent")


@pytest.mark.parametrize("seat", [0, "alternate"])
def test_an_agent_of_a_world_has_a_memory_for_each_seat(seat):
    """What it thinks at its second decision does not depend on where the other seat played unseen."""
    agent = SeatedAgent(make_world_agent(TICTACTOE, seat), TICTACTOE)
    told = []
    for other in (4, 8):
        thinker, match = Thinker(agent), Match(TICTACTOE, 1)
        for action in (0, other):
            thinker.think(match)
            thinker.remember(match.seat, action)
            match.play(action)
        told.append(thinker.think(match))
    assert told[0] == told[1]
    assert sum(p for _, p in told[0].best) <= 1.0 + 1e-6


def test_who_has_no_network_is_not_asked():
    assert thinker_of(fixed_player("random", TICTACTOE)) is None
    assert thinker_of(None) is None
