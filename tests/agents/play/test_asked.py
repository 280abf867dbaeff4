"""What a decision is asked of: what does not fit is named in one line, by `predict` and by players."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces
from models import World, make_agent, model_of
from saved import TICTACTOE
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.play.players import RandomPlayer


@pytest.fixture
def vector():
    return model_of(DummyVecEnv([lambda: World(actions=spaces.MultiDiscrete([2, 1]))] * 2))


GOOD = {
    "observation": np.zeros((2, 3), np.float32), "action_masks": np.ones((2, 3), bool),
    "episode_start": np.ones(2, bool), "seat": 0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"observation": (np.zeros(3), {})}, r"got the pair \(observation, info\) .*unpack it"),
        ({"observation": np.zeros((2, 4))}, r"expected observations of shape \[B, \(3,\)\], got \(2, 4\)"),
        ({"observation": np.zeros((3, 2))}, "expected observations of shape"),
        (
            {"observation": [[0, 0, 0], [0, 0]]},
            r"expected observations of shape \[B, \(3,\)\], got \[\[0, 0, 0\], \[0, 0\]\]",
        ),
        ({"observation": "abc"}, r"expected observations of shape \[B, \(3,\)\], got \(\)"),
        ({"observation": None}, r"expected observations of shape \[B, \(3,\)\], got \(\)"),
        ({"observation": np.zeros((2, 3), complex)}, "expected numbers, got complex128"),
        (
            {"observation": np.full((2, 3), np.nan)},
            r"expected finite observations, got NaN or infinity in world 0: nan at \[0\]",
        ),
        (
            {"observation": np.full((2, 3), np.inf)},
            r"expected finite observations, got NaN or infinity in world 0: inf at \[0\]",
        ),
        ({"observation": np.zeros((0, 3))}, "expected at least one observation, got none"),
        ({"action_masks": np.ones((3, 2), bool)}, r"action_masks of shape \(2, 3\), got \(3, 2\)"),
        ({"action_masks": np.ones(6, bool)}, r"action_masks of shape \(2, 3\), got \(6,\)"),
        ({"action_masks": np.ones((1, 3), bool)}, r"action_masks of shape \(2, 3\), got \(1, 3\)"),
        ({"action_masks": np.full((2, 3), 0.5)}, "expected action_masks of True and False, got 0.5"),
        ({"action_masks": np.full((2, 3), np.nan)}, "expected action_masks of True and False, got nan"),
        ({"action_masks": np.zeros((2, 3), bool)}, "the mask of row 0 allows no action"),
        ({"episode_start": [True]}, r"expected episode_start of shape \(2,\), got \(1,\)"),
        ({"episode_start": True}, r"expected episode_start of shape \(2,\), got \(\)"),
        ({"episode_start": [0.5, 1]}, "expected episode_start of True and False, got 0.5"),
        ({"seat": 1}, r"expected seats in 0\.\.0, got 1"),
        ({"seat": [0, -1]}, r"expected seats in 0\.\.0, got -1"),
        ({"seat": [0]}, "expected seat as a whole number or 2 of them"),
        ({"seat": 0.0}, "expected seat as a whole number or 2 of them, got float64"),
        ({"state": (np.zeros(3),)}, r"expected state as predict returned it \(a Memory\) or None, got tuple"),
    ],
)
def test_predict_refuses_what_does_not_fit(vector, wrong, told):
    vector.predict(**GOOD)
    with pytest.raises(ValueError, match=told):
        vector.predict(**GOOD | wrong)


def test_predict_refuses_the_memory_of_others(vector, make_model):
    _, state = vector.predict(**GOOD)
    one, _ = vector.predict(np.zeros(3), episode_start=True, action_masks=[1, 0, 1])
    assert one.tolist() == [0, 0]
    with pytest.raises(ValueError, match="expected the state of 1 matches"):
        vector.predict(np.zeros(3), state)
    other = make_model().policy.initial_memory(2)
    with pytest.raises(ValueError, match="expected the state of 2 matches"):
        vector.predict(np.zeros((2, 3)), other)


def test_predict_asks_who_decides_where_several_may(make_model):
    model, seen = make_model(), np.zeros((3, 4), np.uint8)
    with pytest.raises(ValueError, match=r"say who decides, seat=0\.\.1: there are 2 seats"):
        model.predict(seen)
    seats, first = (0, 1, [0, 1, 0], torch.tensor([0, 1, 1])), np.ones(3, bool)
    told = [model.predict(seen, episode_start=first, seat=seat)[1].cores[0] for seat in seats]
    assert [core[0].any(-1).int().argmax(-1).tolist() for core in told] == [
        [0, 0, 0], [1, 1, 1], [0, 1, 0], [0, 1, 1],
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"expected seats in 0\.\.1, got 2"):
        model.predict(seen, seat=2)


@pytest.mark.parametrize(
    ("space", "seen"),
    [(spaces.Discrete(3), 1.5), (spaces.MultiDiscrete([3, 3]), [0.5, 1]), (spaces.MultiBinary(2), [0.1, 0])],
)
def test_codes_are_whole_numbers(space, seen):
    with pytest.raises(ValueError, match=r"expected integers in 0\.\.[12], got"):
        model_of(World(space)).predict(seen)


def test_a_dict_is_checked_entry_by_entry():
    space = spaces.Dict(a=spaces.Box(-1, 1, (2,)), b=spaces.Discrete(3))
    model = model_of(World(space))
    model.predict({"a": [0.0, 1.0], "b": 2})
    for wrong in ({"a": [0.0, np.nan], "b": 2}, {"a": [0.0, 1.0]}, {"a": [0, 1], "b": 2.5}, ({"a": 1}, {})):
        with pytest.raises(ValueError, match="expected"):
            model.predict(wrong)


def test_predict_names_the_shape_it_expects(make_model):
    with pytest.raises(ValueError, match=r"expected observations of shape \[B, \(4,\)\], got \(2, 5\)"):
        make_model().predict(np.zeros((2, 5), np.uint8), seat=0)


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64])
def test_masks_and_seats_may_have_any_integer_dtype(dtype):
    agent = make_agent(matches=2)
    actions = agent.act(np.zeros((2, 9), np.uint8), np.ones((2, 9), dtype), np.array([0, 1], dtype))
    assert actions.shape == (2,)


FITTING = {
    "observation": np.zeros((2, 9), np.uint8),
    "legal": np.ones((2, 9), bool),
    "seat": np.array([0, 1]),
}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"observation": np.zeros((3, 9))},
            r"it sits in 2 matches, got 3 observations",
        ),
        ({"observation": np.zeros((2, 4))}, r"expected observations of shape \[B, \(9,\)\], got \(2, 4\)"),
        ({"observation": np.zeros(9)}, r"it sits in 2 matches, got 1 observations"),
        ({"legal": np.ones((2, 8), bool)}, r"expected legal of shape \(2, 9\), got \(2, 8\)"),
        ({"legal": np.ones(9, bool)}, r"expected legal of shape \(2, 9\), got \(9,\)"),
        ({"legal": np.zeros((2, 9), bool)}, r"the mask of row 0 allows no action"),
        ({"seat": np.array([0, 2])}, r"expected seats in 0..1, got 2"),
        ({"seat": np.array([0, -1])}, r"expected seats in 0..1, got -1"),
        ({"seat": 0}, r"expected 2 seats in 0..1, got \[0\]"),
        ({"seat": None}, r"say who decides, seat=0..1: there are 2 seats"),
    ],
)
@pytest.mark.parametrize("kind", ["agent", "random"])
def test_what_does_not_fit_is_named(kind, changed, message):
    player = make_agent(matches=2) if kind == "agent" else RandomPlayer(TICTACTOE)
    player.reset(2)
    player.act(**FITTING)
    with pytest.raises(ValueError, match=message) as error:
        player.act(**FITTING | changed)
    assert "\n" not in str(error.value)
