"""Lanes: whose deals they play, which seeds repeat them, and what another env does to a model."""

from __future__ import annotations

import copy
import random

import numpy as np
import pytest
import torch
from models import World, cards, model_of, saved, weights_of
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

import envs
from agents import MaskableRecurrentPPO

# ---------------------------------------------------------------- seeds and deals


@pytest.mark.parametrize("kind", ["batch", "world"])
def test_every_learn_deals_others_and_the_seed_repeats_them(make_model, kind):
    def make(seed):
        return make_model("leduc_poker", 32, seed=seed) if kind == "batch" else model_of(seed=seed)

    one, again, other = (cards(make(seed), 3) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    deals = [*one, *other]
    assert not any(torch.equal(a, b) for k, a in enumerate(deals) for b in deals[:k])


def test_a_model_without_a_seed_deals_from_the_batchs():
    def make(seed):
        batch = envs.Batch(envs.make("leduc_poker"), 32, seed=seed)
        return model_of(batch, seed=None, batch_size=32 * 8)

    one, again, other = (cards(make(seed), 2) for seed in (7, 7, 2**64 - 1))
    assert torch.equal(one, again)
    assert not torch.equal(one[0], one[1])
    assert not torch.equal(one, other)
    model = make(7)
    cards(model)
    assert torch.equal(cards(MaskableRecurrentPPO.load(saved(model), device="cpu"))[0], one[1])


def test_a_loaded_model_goes_on_counting(make_model):
    deals = cards(make_model("leduc_poker", 32), 3)
    model = make_model("leduc_poker", 32)
    cards(model)
    loaded = MaskableRecurrentPPO.load(saved(model), device="cpu")
    assert torch.equal(cards(loaded, 2), deals[1:])


def test_five_seeds_share_no_deal(make_model):
    """Not even one seed's second learn with another's first, as seed + number would."""
    deals = torch.cat([cards(make_model("generals", 2, seed=seed, batch_size=16), 2) for seed in range(5)])
    assert len({deal.numpy().tobytes() for deal in deals.flatten(0, 1)}) == 20


def test_worlds_of_neighbouring_seeds_are_others():
    """VecEnv.seed gives lane b the seed + b."""
    used = []
    for seed in range(4):
        worlds = [World() for _ in range(4)]
        model = model_of(DummyVecEnv([lambda w=w: w for w in worlds]), seed=seed)
        cards(model, 2)
        used += [number for world in worlds for number in world.seeds]
    assert len(set(used)) == len(used) == 4 * 4 * 2


@pytest.mark.parametrize("kind", ["batch", "world"])
def test_set_random_seed_repeats_what_comes(make_model, kind):
    model = make_model("leduc_poker", 32) if kind == "batch" else model_of()
    told = []
    for _ in range(2):
        model.set_random_seed(5)
        deals = cards(model, 2)
        told.append((deals, model.rollout.action))
        assert not torch.equal(*deals)
    assert torch.equal(told[0][0], told[1][0])
    model.set_random_seed(np.int64(6))
    assert not torch.equal(cards(model), told[0][0][:1])
    before = model.generator.get_state(), model.shuffler.get_state(), random.getstate()
    model.set_random_seed(None)
    assert torch.equal(model.generator.get_state(), before[0])
    assert torch.equal(model.shuffler.get_state(), before[1])
    assert random.getstate() == before[2]
    with pytest.raises(ValueError, match="seed must be a whole number in 0"):
        model.set_random_seed(-1)


@pytest.mark.parametrize("kind", ["batch", "world"])
def test_without_a_seed_nobodys_random_numbers_are_touched(kind):
    """Torch's are drawn from, as every network's beginning is; they follow from the caller's seed."""
    told = []
    for _ in range(2):
        random.seed(11)
        np.random.seed(12)  # noqa: NPY002
        torch.manual_seed(13)
        model = model_of(envs.Batch(envs.make("kuhn_poker"), 8) if kind == "batch" else World(), seed=None)
        model.learn(64)
        numbers = random.random(), np.random.random()  # noqa: NPY002
        assert numbers == (random.Random(11).random(), np.random.RandomState(12).random())
        assert torch.initial_seed() == 13
        told.append((weights_of(model.policy), model.generator.get_state()))
    assert torch.equal(told[0][1], told[1][1])
    if kind == "batch":
        assert torch.equal(told[0][0], told[1][0])
    assert not torch.equal(model_of(seed=None).generator.get_state(), told[0][1])


# ---------------------------------------------------------------- envs


def test_the_same_env_goes_on_with_its_memories(make_model):
    world = World()
    for model, env in ((make_model(), None), (model_of(world), world)):
        model.learn(64 if env is None else 8)
        collector, memory = model.collector, model.collector.memory
        for given in (model.get_env(), env):
            if given is not None:
                model.set_env(given, force_reset=False)
        assert model.collector is collector
        assert model.collector.memory is memory
        model.learn(8, reset_num_timesteps=False)
        model.set_env(model.get_env())
        assert model.collector is None
    assert world.resets == 1 + 3  # at the beginning and after 5, 10 and 15 of 16 steps


def test_another_batch_goes_on_where_it_stands(make_model):
    """Three moves have been made in it; every memory is empty, every seat's first decision is a start."""
    model = make_model("phantom_tictactoe").learn(64)
    for loaded in (model, None):
        batch = envs.Batch(model.game, 8, seed=9)
        for action in (0, 1, 2):
            batch.step(torch.full((8,), action))
        before = {name: x.clone() for name, x in batch.state_dict().items()}
        shown = batch.observation.clone()
        if loaded is None:
            loaded = MaskableRecurrentPPO.load(saved(model), batch, "cpu", force_reset=False)
        else:
            loaded.set_env(batch, force_reset=False)
        assert loaded.batch is batch
        assert loaded.collector.lanes is loaded.lanes
        assert loaded.collector.start.all()
        assert not loaded.collector.memory.cores[0].any()
        assert all(torch.equal(x, before[name]) for name, x in batch.state_dict().items())
        loaded.learn(64, reset_num_timesteps=False)
        assert torch.equal(loaded.rollout.observation[0], shown)
        assert loaded.rollout.start[0].all()
        assert model.env is not batch or loaded is model


def test_another_world_is_reset_because_nobody_knows_what_it_shows():
    model, other = model_of().learn(8), World()
    old = model.get_env()
    model.set_env(other, force_reset=False)
    model.learn(8, reset_num_timesteps=False)
    assert other.resets >= 1
    assert model.get_env() is not old
    loaded = MaskableRecurrentPPO.load(saved(model), third := World(), "cpu", force_reset=False)
    loaded.learn(8, reset_num_timesteps=False)
    assert third.resets >= 1


@pytest.mark.parametrize("force_reset", [True, False])
def test_another_number_of_matches_is_taken_or_refused_whole(make_model, force_reset):
    model = make_model().learn(64)
    old = model.get_env()
    with pytest.raises(ValueError, match="batch_size 32 does not fit 3 matches"):
        model.set_env(envs.Batch(model.game, 3), force_reset)
    with pytest.raises(ValueError, match="the model plays KuhnPoker"):
        model.set_env(envs.Batch(envs.make("leduc_poker"), 8), force_reset)
    assert (model.get_env(), model.n_envs) == (old, 8)
    model.learn(64, reset_num_timesteps=False)
    model.set_env(envs.Batch(model.game, 16), force_reset)
    model.learn(128, reset_num_timesteps=False)
    assert model.rollout.shape == (8, 16)


def test_set_env_takes_matches_of_the_same_game(make_model):
    model = make_model()
    model.learn(64)
    model.set_env(envs.Batch(envs.make("kuhn_poker"), 16))
    model.learn(128, reset_num_timesteps=False)
    assert model.num_timesteps == 64 + 128
    with pytest.raises(ValueError, match=r"the model plays KuhnPoker\(\), got an env of LeducPoker\(\)"):
        model.set_env(envs.Batch(envs.make("leduc_poker"), 8))
    with pytest.raises(ValueError, match="batch_size 32 does not fit 3 matches"):
        model.set_env(envs.Batch(envs.make("kuhn_poker"), 3))


def test_what_a_callback_keeps_of_a_step_stays_as_it_was(make_model):
    """Nothing of it is written again, though a rollout is written where the one before the last was."""
    kept, then = [], []

    class Keeping(BaseCallback):
        def _on_step(self):
            told = {name: self.locals[name] for name in ("new_obs", "rewards", "dones", "actions", "infos")}
            kept.append(told)
            then.append(copy.deepcopy(told))
            return True

    make_model().learn(6 * 64, callback=Keeping())
    for told, was in zip(kept, then, strict=True):
        assert told["infos"] == was["infos"]
        for name in ("new_obs", "rewards", "dones", "actions"):
            assert (told[name] == was[name]).all(), name


def test_an_env_that_is_not_a_batch_is_refused():
    with pytest.raises(ValueError, match=r"env must be a Batch, a .*, got KuhnPoker"):
        MaskableRecurrentPPO("MlpLstmPolicy", envs.make("kuhn_poker"))
