"""Gymnasium's vector environments: a batch tells what theirs tells, and earns what it must."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from choosing import PASS, first, last, same
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics

from envs.adapters.gymnasium import BatchVectorEnv, FogboundEnv

EXACT = [  # mean return of seat 0 where both play at random: reference values of an exact enumeration
    ("phantom_tictactoe", {}, 0.296825),
    ("phantom_tictactoe", {"abrupt": True}, 0.316275),
    ("dark_hex", {}, 1 / 3),
    ("dark_hex", {"abrupt": True}, 0.266926),
    ("dark_hex", {"rows": 2, "cols": 2}, 0.0),
    ("dark_hex", {"rows": 2, "cols": 2, "abrupt": True}, 0.458333),
]


@pytest.mark.parametrize("seat", [0, 1])
@pytest.mark.parametrize(("name", "options", "mean"), EXACT)
def test_random_against_random_earns_what_it_must(name, options, mean, seat):
    """The first 8 episodes of 2,000 lanes, within 4 standard errors."""
    env = BatchVectorEnv(name, 2_000, seat=seat, **options)
    chooser, returns = np.random.default_rng(seat), [[] for _ in range(2_000)]
    env.reset(seed=17)
    while min(map(len, returns)) < 8:
        masks = env.action_masks()
        _, rewards, over, _, _ = env.step(np.where(masks, chooser.random(masks.shape), -1.0).argmax(1))
        assert not rewards[~over].any()  # these games pay at the end
        for b in np.flatnonzero(over):
            returns[b].append(rewards[b])
    sample = np.array([some[:8] for some in returns]).ravel()
    error = sample.std() / np.sqrt(sample.size)
    assert abs(sample.mean() - (mean if seat == 0 else -mean)) < 4 * error


@pytest.mark.parametrize("mode", ["sync", "async", "vector_entry_point", None])
def test_make_vec(mode):
    env = gymnasium.make_vec("fogbound/KuhnPoker-v0", num_envs=8, vectorization_mode=mode, opponent="random")
    try:
        assert isinstance(env, BatchVectorEnv) == (mode not in ("sync", "async"))
        assert env.num_envs == 8
        observation, infos = env.reset(seed=3)
        assert observation in env.observation_space
        assert observation.dtype == np.uint8
        assert infos["action_mask"].tolist() == [[1, 1]] * 8
        for _ in range(5):
            observation, rewards, over, truncated, infos = env.step(env.action_space.sample())
            assert observation in env.observation_space
            assert (rewards.dtype, over.dtype, truncated.dtype) == (np.float64, np.bool_, np.bool_)
            assert infos["action_mask"].shape == (8, 2)
    finally:
        env.close()


@pytest.mark.parametrize("seat", [0, 1])
@pytest.mark.parametrize("name", ["phantom_tictactoe", "dark_hex"])
def test_a_batch_tells_what_gymnasiums_own_vector_environment_tells(name, seat):
    """Games without chance, so that seeds do not matter: 3 lanes, 60 steps, illegal actions among them."""
    own = SyncVectorEnv(
        [lambda: FogboundEnv(name, opponent=last, seat=seat)] * 3, autoreset_mode=AutoresetMode.SAME_STEP
    )
    ours = BatchVectorEnv(name, 3, opponent=last, seat=seat)
    assert ours.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert (ours.observation_space, ours.action_space) == (own.observation_space, own.action_space)
    assert same(own.reset(), ours.reset())
    chooser, ends, offences = np.random.default_rng(0), 0, 0
    for _ in range(60):
        lots = chooser.random((3, 9))
        actions = np.where(ours.action_masks() | (lots > 0.995), lots, -1.0).argmax(1)
        *expected, infos_expected = own.step(actions)
        *told, infos = ours.step(actions)
        assert same(expected, told)
        assert infos.keys() >= infos_expected.keys()
        for name_of, value in infos_expected.items():
            assert same(value, infos[name_of]), name_of
        ends += told[2].sum()
        offences += infos["final_info"]["illegal"].sum() if "final_info" in infos else 0
    assert ends > offences > 0


def test_arrays_of_a_batch_are_the_users_to_keep():
    env = BatchVectorEnv("dark_hex", 4)
    kept = [env.reset(seed=1)[0], *env.step(np.zeros(4, np.int64))[:4]]
    copies = [array.copy() for array in kept]
    for action in (4, 8, 2, 6, 1):
        env.step(np.full(4, action))
    assert same(kept, copies)


def test_a_seed_decides_a_batch():
    def told(seed):
        observation, _ = env.reset(seed=seed)
        return [observation, *(env.step(np.full(50, action)) for action in (0, 1, 0, 1, 1, 0))]

    env = BatchVectorEnv("kuhn_poker", 50)
    one = told(7)
    assert same(one, told(7))
    assert not same(one, told(None))
    assert not same(one, told(8))


def test_lanes_alternate_between_the_seats():
    """Lane b begins in seat b modulo 2, and changes with every match."""
    env = BatchVectorEnv("kuhn_poker", 4, opponent=first, seat="alternate")
    observation, infos = env.reset(seed=1)
    assert infos["seat"].tolist() == observation[:, -1].tolist() == [0, 1, 0, 1]
    observation, _, over, _, infos = env.step(np.zeros(4, np.int64))  # all pass
    assert over.all()
    assert infos["seat"].tolist() == observation[:, -1].tolist() == [1, 0, 1, 0]
    assert infos["final_info"]["seat"].tolist() == [0, 1, 0, 1]
    assert [seen[-1] for seen in infos["final_obs"]] == [0, 1, 0, 1]


def test_gymnasiums_statistics_follow_a_batch():
    env = RecordEpisodeStatistics(gymnasium.make_vec("fogbound/KuhnPoker-v0", num_envs=4, opponent=first))
    env.reset(seed=1)
    _, rewards, over, _, infos = env.step(np.full(4, PASS))
    assert over.all()
    assert infos["episode"]["r"].tolist() == rewards.tolist()
    assert infos["episode"]["l"].tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("actions", "error", "said"),
    [
        (np.zeros(3, np.int64), ValueError, r"actions must have shape \(2,\), got \(3,\)"),
        (np.zeros(2), TypeError, "actions must have an integer dtype, got torch.float64"),
        (np.array([0, 2]), ValueError, r"kuhn_poker: actions are 0\.\.1, got 2"),
        (np.array([-1, 0]), ValueError, r"actions are 0\.\.1, got -1"),
    ],
)
def test_what_a_batch_refuses(actions, error, said):
    env = BatchVectorEnv("kuhn_poker", 2)
    env.reset(seed=1)
    with pytest.raises(error, match=said):
        env.step(actions)


def test_illegal_actions_in_a_batch_can_be_refused():
    env = BatchVectorEnv("phantom_tictactoe", 2, opponent=first, illegal="raise")
    env.reset(seed=1)
    env.step(np.array([4, 5]))
    with pytest.raises(ValueError, match=r"action 5 \('.+'\) of seat 0 in match 1 is illegal; legal are \[0"):
        env.step(np.array([8, 5]))
