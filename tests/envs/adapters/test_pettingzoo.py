"""PettingZoo: its own suites, and what they do not look at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from listed import LISTED
from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test, render_test, seed_test
from pettingzoo.utils import TerminateIllegalWrapper

import envs

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *LISTED,
    ("phantom_tictactoe", {"abrupt": True, "reveal": "turns"}),
    ("dark_hex", {"rows": 2, "cols": 5, "abrupt": True}),
    ("dark_hex", {"rows": 9, "cols": 8, "reveal": "turns"}),
    ("battleship", {"seats": 2, "rows": 4, "cols": 3, "ships": "2,3", "shots": 9}),
    ("concentration", {"level": "hard"}),
    ("minesweeper", {"level": "hard"}),
]
ALL_IS_LEGAL = {"kuhn_poker", "concentration", "minesweeper"}
"""Games without illegal actions; battleship is one with a single seat."""


def played(env: Any, chooser: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """One match with random legal moves: what `last` says at every turn, and what the others see then."""
    for agent in env.agent_iter():
        observation, reward, terminated, truncated, info = env.last()
        others = [env.observe(other) for other in env.agents if other != agent]
        yield agent, observation, reward, terminated, truncated, info, others
        legal = np.flatnonzero(observation["action_mask"])
        env.step(None if terminated else chooser.choice(legal))


# PettingZoo's suite remarks on every Dict observation, on an observation of a single number, and on an
# observation or a mask of zeros: that is what a seat sees before it knows anything, and the mask of an
# agent that is not to move.
@pytest.mark.filterwarnings("ignore:Observation space for each agent probably should be:UserWarning")
@pytest.mark.filterwarnings("ignore:Observation is not a NumPy array:UserWarning")
@pytest.mark.filterwarnings("ignore:Observation is a single number:UserWarning")
@pytest.mark.filterwarnings("ignore:Observation numpy array is all zeros:UserWarning")
@pytest.mark.filterwarnings("ignore:Action mask numpy array is all zeros:UserWarning")
@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_pettingzoo_accepts_the_environment(
    name: str, options: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    api_test(envs.aec(name, **options), num_cycles=60)
    assert "Passed API test" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_pettingzoo_finds_the_environment_reproducible(name: str, options: dict[str, Any]) -> None:
    seed_test(lambda: envs.aec(name, **options), num_cycles=60)


@pytest.mark.usefixtures("unseen_window")
@pytest.mark.parametrize(("name", "options"), LISTED)
def test_pettingzoo_sees_every_render_mode(name: str, options: dict[str, Any]) -> None:
    render_test(lambda render_mode: envs.aec(name, render_mode, **options))


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_twenty_matches_in_lockstep_are_the_same(name: str, options: dict[str, Any]) -> None:
    """One seed fixes the whole sequence of matches, not the first one alone."""
    one, two = envs.aec(name, **options), envs.aec(name, **options)
    chooser_one, chooser_two = np.random.default_rng(5), np.random.default_rng(5)
    seeds = []
    for episode in range(20):
        one.reset(seed=11 if episode == 0 else None)
        two.reset(seed=11 if episode == 0 else None)
        assert one.match.seed == two.match.seed
        seeds.append(one.match.seed)
        for turn_one, turn_two in zip(played(one, chooser_one), played(two, chooser_two), strict=True):
            np.testing.assert_equal(turn_one, turn_two)
    assert len(set(seeds)) == 20
    one.reset(seed=11)
    assert one.match.seed == seeds[0]
    one.reset(seed=12)
    assert one.match.seed not in seeds


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_nothing_but_the_observation_speaks_of_the_match(name: str, options: dict[str, Any]) -> None:
    env = envs.aec(name, **options)
    for seed in range(5):
        env.reset(seed=seed)
        for _, observation, reward, terminated, truncated, info, others in played(
            env, np.random.default_rng(seed)
        ):
            assert info == {}
            assert type(reward) is float
            assert type(terminated) is bool
            assert truncated is False
            assert all(not other["action_mask"].any() for other in others)
            assert observation["action_mask"].any() == (not terminated)
            assert observation["observation"].dtype == env.game.observation_space.dtype
            if not terminated and env.game.seats == 2:
                assert set(env.rewards.values()) == {0.0}  # these games pay at the end


# ---------------------------------------------------------------- all at once

AT_ONCE = [(name, options) for name, options in LISTED if envs.GAMES[name].simultaneous]
IN_TURNS = [name for name in envs.GAMES if not envs.GAMES[name].simultaneous]
NEIGHBOURS = {"map": "AB../..../..../....", "max_ticks": 60}


@pytest.mark.parametrize(("name", "options"), AT_ONCE)
def test_pettingzoo_accepts_the_parallel_environment(
    name: str, options: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    parallel_api_test(envs.parallel(name, **options), num_cycles=60)
    assert "Passed Parallel API test" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "options"), AT_ONCE)
def test_pettingzoo_finds_the_parallel_environment_reproducible(name: str, options: dict[str, Any]) -> None:
    parallel_seed_test(lambda: envs.parallel(name, **options), num_cycles=60)


@pytest.mark.parametrize(("name", "options"), [*AT_ONCE, ("generals", NEIGHBOURS)])
def test_both_views_show_the_same_matches(name: str, options: dict[str, Any]) -> None:
    """A tick of the parallel view is one move of each agent in the other, in 20 matches from one seed."""
    parallel, aec, chooser = (
        envs.parallel(name, **options),
        envs.aec(name, **options),
        np.random.default_rng(3),
    )
    won = 0
    for episode in range(20):
        shown, infos = parallel.reset(seed=7 if episode == 0 else None)
        aec.reset(seed=7 if episode == 0 else None)
        assert infos == {"player_0": {}, "player_1": {}}
        while parallel.agents:
            actions = {a: chooser.choice(np.flatnonzero(shown[a]["action_mask"])) for a in parallel.agents}
            for agent in aec.possible_agents:
                assert aec.agent_selection == agent
                np.testing.assert_equal(aec.observe(agent), shown[agent])
                aec.step(actions[agent])
            shown, rewards, terminations, truncations, infos = parallel.step(actions)
            assert (rewards, terminations, truncations) == (aec.rewards, aec.terminations, aec.truncations)
            assert not any(info["illegal"] for info in infos.values())
            won += rewards["player_0"] != 0.0
        assert parallel.match.state.tobytes() == aec.match.state.tobytes()
        assert all(not shown[agent]["action_mask"].any() for agent in parallel.possible_agents)
    assert (won > 0) == (options is NEIGHBOURS or name != "generals")  # on random maps nobody does


def test_an_illegal_action_loses_the_parallel_match() -> None:
    """At the start only a pass (128) is legal. If both err, it is seat 0 that loses."""
    for actions, rewards in (((0, 128), (-1.0, 1.0)), ((128, 999), (1.0, -1.0)), ((-1, 0), (-1.0, 1.0))):
        env = envs.parallel("generals", rows=4, cols=4)
        env.reset(seed=1)
        named = dict(zip(env.possible_agents, actions, strict=True))
        shown, earned, terminations, _, infos = env.step(named)
        assert (tuple(earned.values()), env.agents) == (rewards, [])
        assert terminations == {"player_0": True, "player_1": True}
        assert [info["illegal"] for info in infos.values()] == [reward < 0 for reward in rewards]
        assert not shown["player_0"]["action_mask"].any()
        with pytest.raises(ValueError, match=r"the match is over; call reset\(\)"):
            env.step(named)


def test_what_the_parallel_environment_refuses() -> None:
    env = envs.parallel("generals", rows=4, cols=4, illegal="raise")
    env.reset(seed=1)
    before = env.match.state.tobytes()
    with pytest.raises(ValueError, match=r"action 8 \('b1 up'\) of seat 1 is illegal; legal are \[128\]"):
        env.step({"player_0": 128, "player_1": 8})
    with pytest.raises(TypeError, match="an action is an integer, got None"):
        env.step({"player_0": 128, "player_1": None})
    with pytest.raises(ValueError, match=r"of player_0, player_1 are needed, got those of \['player_0'\]"):
        env.step({"player_0": 128})
    assert env.match.state.tobytes() == before
    with pytest.raises(ValueError, match="illegal must be 'lose' or 'raise', got 'pass'"):
        envs.parallel("generals", illegal="pass")
    for name in IN_TURNS:
        said = f"^{name} is played in turns, by envs.aec; all move at once in goofspiel, generals$"
        with pytest.raises(ValueError, match=said):
            envs.parallel(name)


@pytest.mark.usefixtures("unseen_window")
def test_the_parallel_environment_is_drawn() -> None:
    for mode, kind in (("ansi", str), ("rgb_array", np.ndarray), ("human", type(None))):
        env = envs.parallel("generals", mode, rows=4, cols=4)
        with pytest.raises(RuntimeError, match=r"call reset\(\) first"):
            env.render()
        env.reset(seed=1)
        env.step({"player_0": 128, "player_1": 128})
        assert isinstance(env.render(), kind)
        env.close()


# ---------------------------------------------------------------- matches told by hand


def test_rewards_reach_both_agents() -> None:
    """Kuhn: bet, pass. Seat 0 wins the ante."""
    env = envs.aec("kuhn_poker")
    env.reset(seed=1)
    env.step(1)
    env.step(np.int32(0))
    assert env.rewards == {"player_0": 1.0, "player_1": -1.0}
    rewards = {}
    for agent in env.agent_iter():
        rewards[agent] = env.last()[1]
        env.step(None)
    assert rewards == {"player_0": 1.0, "player_1": -1.0}
    with pytest.raises(ValueError, match="call reset"):
        env.step(None)


def test_a_single_seat_is_paid_as_it_goes() -> None:
    """Battleship, easy: a hit is worth 1/12, a shot into water -1/52; `last` sums up since the last move."""
    env = envs.aec("battleship")
    env.reset(seed=1)
    ship = env.match.state.ship[0]
    hit, water = int(np.flatnonzero(ship)[0]), int(np.flatnonzero(ship == 0)[0])
    for cell, reward in ((hit, 1 / 12), (water, -1 / 52), (hit, -1 / 52)):
        env.step(cell)
        observation, paid, *_ = env.last()
        assert paid == pytest.approx(reward)
        assert observation["observation"].tolist() == [int(reward > 0)]
        assert env.agent_selection == "player_0"


def test_a_collision_is_not_told_by_the_environment() -> None:
    """o runs into x's stone and stays on turn: nothing that player_0 is given changes."""
    env = envs.aec("phantom_tictactoe")
    env.reset()
    env.step(4)
    before = env.observe("player_0")
    env.step(4)
    assert env.agent_selection == "player_1"
    np.testing.assert_equal(env.observe("player_0"), before)
    assert env.infos == {"player_0": {}, "player_1": {}}
    assert env.observe("player_1")["observation"][4] == 2


@pytest.mark.parametrize(
    ("action", "error", "said"),
    [
        (4, ValueError, r"action 4 \('[^']+'\) of seat 0 is illegal; legal are"),
        (9, ValueError, "action 9 of seat 0 is illegal"),
        (-1, ValueError, "action -1 of seat 0 is illegal"),
        (1.0, TypeError, "an action is an integer, got 1.0"),
        (None, TypeError, "an action is an integer, got None"),
        ("b2", TypeError, "an action is an integer, got 'b2'"),
    ],
)
def test_an_illegal_action_changes_nothing(action: Any, error: type[Exception], said: str) -> None:
    env = envs.aec("phantom_tictactoe")
    env.reset(seed=3)
    env.step(4)
    env.step(0)
    before = env.match.state.tobytes(), env.agent_selection, env.observe("player_0")
    with pytest.raises(error, match=said):
        env.step(action)
    np.testing.assert_equal((env.match.state.tobytes(), env.agent_selection, env.observe("player_0")), before)
    env.step(8)
    assert env.match.actions == [4, 0, 8]


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_the_illegal_wrapper_punishes_the_offender_and_the_next_match_is_clean(
    name: str, options: dict[str, Any]
) -> None:
    """Two matches; in each the first choice that has an illegal alternative takes it, if there is one."""
    env = TerminateIllegalWrapper(envs.aec(name, **options), illegal_reward=-7)
    offences = 0
    for seed in range(2):
        env.reset(seed=seed)
        chooser, offender, rewards = np.random.default_rng(seed), None, {}
        for agent in env.agent_iter():
            observation, reward, terminated, truncated, _ = env.last()
            if terminated or truncated:
                rewards[agent] = reward
                assert not observation["action_mask"].any()
                env.step(None)
                continue
            illegal = np.flatnonzero(observation["action_mask"] == 0)
            if illegal.size and offender is None:
                offender = agent
                offences += 1
                env.step(int(illegal[0]))
            else:
                env.step(int(chooser.choice(np.flatnonzero(observation["action_mask"]))))
        if offender is not None:
            assert rewards[offender] == -7
            assert sorted(rewards.values()) == [-7, 0]
    all_is_legal = name in ALL_IS_LEGAL or (name == "battleship" and not options)
    assert offences == (0 if all_is_legal else 2)
    env.reset()
    assert env.agents == [f"player_{p}" for p in range(env.unwrapped.game.seats)]
    assert not any(env.terminations.values())
    assert env.observe("player_0")["action_mask"].any()


def test_before_the_first_reset_the_error_says_what_to_do() -> None:
    env = envs.aec("kuhn_poker", "ansi")
    for ask in (env.render, lambda: env.match):
        with pytest.raises(RuntimeError, match=r"call reset\(\) first"):
            ask()


def test_an_unknown_render_mode_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown render_mode 'svg'; known are ansi, rgb_array, human"):
        envs.aec("kuhn_poker", "svg")


def test_rendering_without_a_mode_warns() -> None:
    env = envs.aec("kuhn_poker")
    env.reset()
    with pytest.warns(UserWarning, match="without a render_mode"):
        assert env.render() is None
