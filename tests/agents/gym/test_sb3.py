"""Our cells inside sb3-contrib's own RecurrentPPO: what the stock computes, and every cell in its place.

With `cell="lstm"` and the same weights the stock policy is the oracle: outputs, gradients, the first update.
"""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.wrappers import TransformObservation
from pairs import pairs
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import CallbackList, CheckpointCallback, EvalCallback
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.torch_layers import CombinedExtractor, NatureCNN
from stable_baselines3.common.vec_env import VecNormalize

from agents.gym.sb3 import RecurrentCellCnnPolicy, RecurrentCellMultiInputPolicy, RecurrentCellPolicy
from agents.net.cells import CELLS, Cell

S, T, H = 3, 6, 8  # sequences, steps, hidden units

CRITICS = {
    "own core": {},
    "shared core": {"shared_lstm": True, "enable_critic_lstm": False},
    "no core": {"enable_critic_lstm": False},
}
SHAPES = {
    **CRITICS,
    "two layers": {"n_lstm_layers": 2},
    "own features": {"share_features_extractor": False},
}

OBSERVATIONS = {
    "Box": spaces.Box(-1.0, 1.0, (2, 3)),
    "Discrete": spaces.Discrete(4),
    "MultiDiscrete": spaces.MultiDiscrete([3, 2, 5]),
    "MultiBinary": spaces.MultiBinary(3),
}
ACTIONS = {
    "Box": spaces.Box(-1.0, 1.0, (2,)),
    "Discrete": spaces.Discrete(3),
    "MultiDiscrete": spaces.MultiDiscrete([2, 3]),
    "MultiBinary": spaces.MultiBinary(2),
}
IMAGE = spaces.Box(0, 255, (3, 40, 40), np.uint8)


# ---------------------------------------------------------------- what the tests play and build


class Noise(gymnasium.Env):
    """Five random observations a match, reward 1 each; any action will do."""

    def __init__(self, observation_space, action_space=ACTIONS["Discrete"]):
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed, options=options)
        if seed is not None:
            self.observation_space.seed(seed)
        self.steps = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action)
        self.steps += 1
        return self.observation_space.sample(), 1.0, self.steps == 5, False, {}


def cart_pole_without_velocities():
    """The cart's place and the pole's angle alone: one must remember to know where they are going."""
    world = gymnasium.make("CartPole-v1")
    seen = [0, 2]
    space = spaces.Box(world.observation_space.low[seen], world.observation_space.high[seen])
    return TransformObservation(world, lambda observation: observation[seen], space)


def make_model(env="CartPole-v1", policy=RecurrentCellPolicy, policy_kwargs=None, **arguments):
    """Small, seeded, quick."""
    arguments = {"n_steps": 16, "batch_size": 16, "n_epochs": 2, "seed": 0, "device": "cpu"} | arguments
    return RecurrentPPO(
        policy, env, policy_kwargs={"lstm_hidden_size": H} | (policy_kwargs or {}), **arguments
    )


def make_policy(cls=RecurrentCellPolicy, **arguments):
    """For observations of 4 numbers and 3 actions."""
    spaces_ = spaces.Box(-1.0, 1.0, (4,)), ACTIONS["Discrete"]
    return cls(*spaces_, lambda _: 1e-3, lstm_hidden_size=H, **arguments)


def make_twins(**arguments):
    """The stock policy and ours with its weights; heads louder than PPO starts them, so that errors show."""
    torch.manual_seed(0)
    stock = make_policy(RecurrentActorCriticPolicy, ortho_init=False, **arguments)
    ours = make_policy(cell="lstm", ortho_init=False, **arguments)
    ours.load_stock(stock)
    return stock, ours


def given(layers=1, starts="none"):
    """S sequences of T observations, actions taken, memories to begin with, and where episodes begin."""
    torch.manual_seed(1)
    start = {
        "none": torch.zeros(S, T),
        "first": torch.arange(T).eq(0).expand(S, T),
        "inside": torch.tensor([[0, 0, 1, 0, 0, 0], [1, 0, 0, 1, 1, 0], [0, 0, 0, 0, 0, 1]]),
        "everywhere": torch.ones(S, T),
    }[starts]
    h, c, critic_h, critic_c = torch.randn(4, layers, S, H)
    states = RNNStates((h, c), (critic_h, critic_c))
    return torch.randn(S * T, 4), torch.randint(3, (S * T,)), states, start.float().flatten()


def as_ours(stock_tensors):
    """The stock's named tensors under our names: gates i f g o -> i f o g; of its two biases the first."""
    kinds = {"weight_ih": "W", "weight_hh": "U", "bias_ih": "b"}
    renamed = {}
    for name, tensor in stock_tensors:
        owner, _, leaf = name.partition(".")
        if owner not in ("lstm_actor", "lstm_critic"):
            renamed[name] = tensor
        elif not leaf.startswith("bias_hh"):
            kind, layer = leaf.split("_l")
            i, f, g, o = tensor.chunk(4)
            renamed[f"{owner}.cells.{layer}.{kinds[kind]}"] = torch.cat([i, f, o, g])
    return renamed


def assert_same(ours, theirs, atol=1e-6):
    for mine, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, expected, rtol=0, atol=atol)


def assert_same_by_name(ours, theirs, atol=1e-6):
    assert set(ours) == set(theirs)
    for name, mine in ours.items():
        torch.testing.assert_close(mine, theirs[name], rtol=0, atol=atol, msg=lambda m, n=name: f"{n}: {m}")


# ---------------------------------------------------------------- the lstm is the stock's


@pytest.mark.parametrize("starts", ["none", "first", "inside", "everywhere"])
@pytest.mark.parametrize("shape", SHAPES)
def test_training_computes_what_the_stock_computes(shape, starts):
    """Values, log-probabilities, entropies and all gradients."""
    twins = make_twins(**SHAPES[shape])
    batch = given(SHAPES[shape].get("n_lstm_layers", 1), starts)
    results = [policy.evaluate_actions(*batch) for policy in twins]
    assert_same(results[1], results[0])
    for value, log_prob, entropy in results:
        (value.square().mean() - log_prob.mean() - entropy.mean()).backward()
    stock, ours = ([(n, p.grad) for n, p in twin.named_parameters() if p.grad is not None] for twin in twins)
    assert_same_by_name(dict(ours), as_ours(stock))


@pytest.mark.parametrize("start", [0.0, 1.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_play_computes_what_the_stock_computes(shape, start):
    """One step in S worlds: actions drawn from one seed, values, log-probabilities and memories."""
    stock, ours = make_twins(**SHAPES[shape])
    observations, _, states, _ = given(SHAPES[shape].get("n_lstm_layers", 1))
    step = observations[:S], states, torch.full((S,), start)
    results = []
    for policy in (stock, ours):
        torch.manual_seed(2)
        actions, values, log_probs, memory = policy(*step)
        distribution, after = policy.get_distribution(step[0], states.pi, step[2])
        value = policy.predict_values(step[0], states.vf, step[2])
        results.append(
            (
                actions,
                values,
                log_probs,
                *memory.pi,
                *memory.vf,
                distribution.distribution.probs,
                *after,
                value,
            )
        )
    assert_same(results[1], results[0])


@pytest.mark.parametrize("shape", SHAPES)
def test_predict_computes_what_the_stock_computes(shape):
    """Ten steps in two worlds, the memory carried along; the second world begins anew at step 4."""
    memories, chosen = [], []
    for policy in make_twins(**SHAPES[shape]):
        rng, state, start = np.random.default_rng(3), None, np.ones(2, bool)
        for t in range(10):
            observation = rng.uniform(-1, 1, (2, 4)).astype(np.float32)
            action, state = policy.predict(observation, state, start, deterministic=True)
            start = np.array([False, t == 3])
            chosen.append(action)
            memories.append(state)
    np.testing.assert_array_equal(chosen[:10], chosen[10:])
    np.testing.assert_allclose(memories[:10], memories[10:], rtol=0, atol=1e-6)


def learn_as_twins(frozen_bias, policy_kwargs=None, **arguments):
    """One rollout and its updates from the same seed and weights: the weights before, the stock policy, ours.

    torch's LSTM has two biases of which one is superfluous. It begins at zero here, and `frozen_bias` keeps
    it there.
    """
    kwargs = policy_kwargs or {}
    stock = make_model(make_vec_env("CartPole-v1", 4), "MlpLstmPolicy", kwargs, **arguments)
    ours = make_model(make_vec_env("CartPole-v1", 4), policy_kwargs={"cell": "lstm", **kwargs}, **arguments)
    for lstm in (stock.policy.lstm_actor, stock.policy.lstm_critic):
        torch.nn.init.zeros_(lstm.bias_hh_l0)
        lstm.bias_hh_l0.requires_grad_(not frozen_bias)
    ours.policy.load_stock(stock.policy)
    before = {name: p.detach().clone() for name, p in ours.policy.named_parameters()}
    for model in (stock, ours):
        model.set_random_seed(4)
        model.learn(16 * 4)
    return before, stock.policy, ours.policy


def test_the_first_update_is_the_stocks():
    before, stock, ours = learn_as_twins(frozen_bias=True)
    after = dict(ours.named_parameters())
    assert_same_by_name(after, as_ours(stock.named_parameters()))
    assert all((after[name] - before[name]).abs().max() > 1e-4 for name in before)


def test_torchs_two_biases_move_twice_as_fast_as_one():
    """One step of plain gradient descent. Both get the gradient that ours gets, and their sum counts."""
    before, stock, ours = learn_as_twins(
        frozen_bias=False,
        policy_kwargs={"optimizer_class": torch.optim.SGD, "ortho_init": False},
        **{"n_epochs": 1, "batch_size": 64, "learning_rate": 0.01, "max_grad_norm": 1e9},
    )
    assert_same_by_name(dict(ours.named_parameters()), as_ours(stock.named_parameters()))
    moved = ours.lstm_critic.cells[0].b - before["lstm_critic.cells.0.b"]
    i, f, g, o = stock.lstm_critic.bias_hh_l0.chunk(4)
    assert moved.abs().max() > 1e-3
    assert_same([moved], [torch.cat([i, f, o, g])])


def test_the_stocks_weights_fit_an_lstm_only():
    stock = make_policy(RecurrentActorCriticPolicy)
    with pytest.raises(ValueError, match="fit cell 'lstm', this policy has 'gru'"):
        make_policy(cell="gru").load_stock(stock)


# ---------------------------------------------------------------- every cell in the stock algorithm


@pytest.mark.parametrize(("cell", "shape"), pairs(CELLS, SHAPES))
def test_what_was_played_is_what_is_trained_on(cell, shape):
    """At a learning rate of 0 the ratio stays 1 all along, though episodes end inside the rollout."""
    model = make_model(
        make_vec_env("CartPole-v1", 4),
        policy_kwargs={"cell": cell, "ortho_init": False, **SHAPES[shape]},
        **{"n_steps": 64, "batch_size": 96, "learning_rate": 0.0},
    )
    model.learn(64 * 4)
    assert model.rollout_buffer.episode_starts.sum() > 4
    logged = dict(model.logger.name_to_value)  # a defaultdict would say 0.0 of what was never logged
    assert logged["train/approx_kl"] == pytest.approx(0.0, abs=1.2e-7)  # the step of float32 at ratio 1
    assert logged["train/clip_fraction"] == 0.0
    batch = next(model.rollout_buffer.get())
    values, log_probs, _ = model.policy.evaluate_actions(
        batch.observations, batch.actions.long().flatten(), batch.lstm_states, batch.episode_starts
    )
    real = batch.mask > 0
    assert_same(
        [values.flatten()[real], log_probs[real]], [batch.old_values[real], batch.old_log_prob[real]], 2e-6
    )


@pytest.mark.parametrize("cell", CELLS)
def test_an_update_changes_every_weight(cell):
    model = make_model(policy_kwargs={"cell": cell, "n_lstm_layers": 2}, n_steps=32)
    before = {name: p.detach().clone() for name, p in model.policy.named_parameters()}
    model.learn(32)
    unchanged = [n for n, p in model.policy.named_parameters() if p.numel() > 0 and torch.equal(p, before[n])]
    assert unchanged == []


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_with_one_part_leaves_the_second_at_zero(cell):
    model = make_model(policy_kwargs={"cell": cell}).learn(32)
    kept = model.rollout_buffer
    assert kept.hidden_states_pi.any()
    assert kept.hidden_states_vf.any()
    for second in (kept.cell_states_pi, kept.cell_states_vf):
        assert second.any() == (len(CELLS[cell].parts) == 2)


def test_a_counter_begins_again_wherever_an_episode_does(monkeypatch):
    """h' = h + 1: three sequences, the first and the last going on from 7; c is nobody's."""

    class Counter(Cell):
        def step(self, _z, state, /):
            return (state[0] + 1,)

    monkeypatch.setitem(CELLS, "counter", Counter)
    policy = make_policy(cell="counter")
    start = torch.tensor([[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 1, 0]])
    before = torch.full((1, 3, H), 7.0), torch.full((1, 3, H), 5.0)
    counted, (h, c) = policy._process_sequence(torch.zeros(12, 4), before, start.flatten(), policy.lstm_actor)
    assert counted[:, 0].view(3, 4).tolist() == [[8, 9, 1, 2], [1, 2, 3, 4], [8, 1, 1, 2]]
    assert h[0, :, 0].tolist() == [2, 4, 2]
    assert torch.equal(c, before[1])


# ---------------------------------------------------------------- worlds


@pytest.mark.parametrize("actions", ACTIONS)
@pytest.mark.parametrize("observations", OBSERVATIONS)
def test_every_kind_of_observation_and_action(observations, actions):
    """Two of which the stock's own policies fail on: MultiDiscrete observations, MultiBinary actions."""
    world = Noise(OBSERVATIONS[observations], ACTIONS[actions])
    model = make_model(world).learn(32)
    action, _ = model.predict(world.reset(seed=0)[0])
    assert world.action_space.contains(action if action.shape else int(action))


@pytest.mark.parametrize(("cell", "shape"), pairs(CELLS, CRITICS))
def test_images(cell, shape):
    kwargs = {"cell": cell, "features_extractor_kwargs": {"features_dim": 16}, **CRITICS[shape]}
    model = make_model(Noise(IMAGE), RecurrentCellCnnPolicy, kwargs).learn(32)
    assert isinstance(model.policy.features_extractor, NatureCNN)
    assert model.policy.lstm_actor.input_size == 16


@pytest.mark.parametrize(("cell", "shape"), pairs(CELLS, CRITICS))
def test_dict_observations(cell, shape):
    """3 + 2 + 5 codes one-hot, two numbers and 8 features of the image: the core reads 20."""
    space = spaces.Dict(
        {"codes": OBSERVATIONS["MultiDiscrete"], "numbers": spaces.Box(-1.0, 1.0, (2,)), "image": IMAGE}
    )
    kwargs = {"cell": cell, "features_extractor_kwargs": {"cnn_output_dim": 8}, **CRITICS[shape]}
    model = make_model(Noise(space), RecurrentCellMultiInputPolicy, kwargs).learn(32)
    assert isinstance(model.policy.features_extractor, CombinedExtractor)
    assert model.policy.lstm_actor.input_size == 20
    evaluate_policy(model, Noise(space), n_eval_episodes=2, warn=False, reward_threshold=4.9)


def test_state_dependent_exploration():
    model = make_model("Pendulum-v1", use_sde=True, sde_sample_freq=4, clip_range_vf=0.1)
    assert model.learn(64).num_timesteps == 64


# ---------------------------------------------------------------- depth, dropout, options of the cell


@pytest.mark.parametrize("shape", CRITICS)
@pytest.mark.parametrize("cell", CELLS)
def test_dropout_works_between_layers_in_training_alone(cell, shape):
    kwargs = {"cell": cell, "n_lstm_layers": 2, "lstm_kwargs": {"dropout": 0.5}, **CRITICS[shape]}
    policy = make_model(Noise(spaces.Box(-1.0, 1.0, (4,))), policy_kwargs=kwargs).learn(32).policy
    batch = given(layers=2)
    log_probs = {}
    for training in (True, False):
        policy.set_training_mode(training)
        first, second = (policy.evaluate_actions(*batch)[1] for _ in range(2))
        log_probs[training] = torch.equal(first, second)
    assert log_probs == {True: False, False: True}


def test_the_options_of_a_cell():
    relu = make_policy(cell="elman", lstm_kwargs={"nonlinearity": "relu"})
    assert [core.cells[0].nonlinearity for core in (relu.lstm_actor, relu.lstm_critic)] == ["relu", "relu"]
    forgetful = make_policy(cell="gated", lstm_kwargs={"forget_bias": -1.0})
    assert forgetful.lstm_actor.cells[0].b[H : 2 * H].tolist() == [-1.0] * H


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cell": "rnn"}, "unknown cell 'rnn'; known are elman, feedforward, gated, gru, lstm"),
        (
            {"cell": "lstm", "lstm_kwargs": {"bidirectional": True}},
            "lstm_kwargs of cell 'lstm' may hold dropout, forget_bias, chrono; got bidirectional",
        ),
        (
            {"cell": "gru", "lstm_kwargs": {"nonlinearity": "relu", "bias": False}},
            "lstm_kwargs of cell 'gru' may hold forget_bias, dropout, chrono; got bias, nonlinearity",
        ),
        ({"lstm_kwargs": {"dropout": 0.5}}, "dropout works between layers, and n_lstm_layers is 1"),
        ({"shared_lstm": True}, "choose one of shared_lstm and enable_critic_lstm"),
        (
            {"shared_lstm": True, "enable_critic_lstm": False, "share_features_extractor": False},
            "shared_lstm needs share_features_extractor",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        make_model(policy_kwargs=arguments)
    assert "\n" not in str(error.value)


# ---------------------------------------------------------------- predict, files, callbacks


@pytest.mark.parametrize("cell", CELLS)
def test_predict_with_and_without_a_memory(cell):
    model = make_model(policy_kwargs={"cell": cell})
    observation = np.array([0.1, -0.2, 0.3, -0.4], np.float32)
    action, first = model.predict(observation, deterministic=True)
    assert action.shape == ()
    assert [part.shape for part in first] == [(1, 1, H)] * 2

    # No memory is the memory of someone who has seen nothing.
    zeros = (np.zeros((1, 1, H)),) * 2
    np.testing.assert_array_equal(model.predict(observation, zeros, deterministic=True)[1], first)
    # Carried on, it changes what a cell with memory makes of the same; where an episode starts, it does not.
    _, second = model.predict(observation, first, deterministic=True)
    assert np.allclose(second[0], first[0]) == (cell == "feedforward")
    _, again = model.predict(observation, second, np.array([True]), deterministic=True)
    np.testing.assert_array_equal(again[0], first[0])
    # Worlds side by side keep their memories apart.
    actions, both = model.predict(np.stack([observation] * 2), None, np.array([True, False]))
    assert actions.shape == (2,)
    np.testing.assert_allclose(both[0], np.concatenate([first[0]] * 2, axis=1), rtol=0, atol=1e-6)


def memories(predict, steps=5):
    """What is remembered after a few observations, the same every time."""
    rng, state = np.random.default_rng(5), None
    for _ in range(steps):
        _, state = predict(rng.uniform(-1, 1, 4).astype(np.float32), state, deterministic=True)
    return state


@pytest.mark.parametrize(("cell", "shape"), pairs(CELLS, SHAPES))
def test_a_saved_model_goes_on_where_it_was(cell, shape, tmp_path):
    model = make_model(policy_kwargs={"cell": cell, **SHAPES[shape]}).learn(32)
    model.save(tmp_path / "model.zip")
    again = RecurrentPPO.load(tmp_path / "model.zip", env=model.get_env(), device="cpu")
    assert again.policy.cell == cell
    np.testing.assert_array_equal(memories(again.predict), memories(model.predict))
    again.learn(32, reset_num_timesteps=False)
    assert again.num_timesteps == 64


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cell", CELLS)
def test_a_saved_policy_is_built_anew(cell, shape, tmp_path):
    """Cell, sizes, layers and critic are in the file; the stock's own leaves them out."""
    policy = make_policy(cell=cell, **SHAPES[shape])
    policy.save(tmp_path / "policy.zip")
    again = RecurrentCellPolicy.load(tmp_path / "policy.zip", device="cpu")
    assert again.cell == cell
    assert_same_by_name(again.state_dict(), policy.state_dict(), atol=0)
    np.testing.assert_array_equal(memories(again.predict), memories(policy.predict))


def test_a_saved_policy_keeps_the_options_of_its_cell(tmp_path):
    options = {"nonlinearity": "relu", "dropout": 0.25}
    make_policy(cell="elman", n_lstm_layers=2, lstm_kwargs=options).save(tmp_path / "policy.zip")
    again = RecurrentCellPolicy.load(tmp_path / "policy.zip", device="cpu")
    assert again.lstm_kwargs == options
    assert again.lstm_actor.dropout.p == 0.25
    assert again.lstm_actor.cells[1].nonlinearity == "relu"


def test_the_masked_cart_pole_is_a_proper_world():
    world = cart_pole_without_velocities()
    check_env(world)
    assert world.observation_space.shape == (2,)
    np.testing.assert_allclose(world.observation_space.high, [4.8, 0.41887903], rtol=1e-6)


def test_callbacks_run_and_leave_their_files(tmp_path):
    evaluate = EvalCallback(
        make_vec_env(cart_pole_without_velocities, 2),
        **{"n_eval_episodes": 2, "eval_freq": 16, "verbose": 0},
        **{"best_model_save_path": tmp_path, "log_path": tmp_path},
    )
    keep = CheckpointCallback(save_freq=16, save_path=tmp_path, name_prefix="kept")
    model = make_model(make_vec_env(cart_pole_without_velocities, 2))
    model.learn(64, callback=CallbackList([evaluate, keep]))
    assert evaluate.evaluations_timesteps == [32, 64]
    assert {path.name for path in tmp_path.glob("*.zip")} == {
        *("best_model.zip", "kept_32_steps.zip", "kept_64_steps.zip")
    }
    assert RecurrentPPO.load(tmp_path / "best_model.zip").policy.cell == "gated"


# ---------------------------------------------------------------- learning


CART_POLE = {
    **{"learning_rate": 7e-4, "gae_lambda": 0.98, "max_grad_norm": 1.0},
    **{"n_steps": 128, "batch_size": 256, "n_epochs": 10, "seed": 1},
}


def learn_cart_pole(make, total_timesteps=50_000):
    """Mean reward of 20 matches after learning the masked cart pole, observations and rewards normalized."""
    worlds = VecNormalize(make_vec_env(cart_pole_without_velocities, 8, seed=1))
    model = make(worlds).learn(total_timesteps)
    worlds.training = False
    judged = VecNormalize(make_vec_env(cart_pole_without_velocities, 4, seed=100), training=False)
    judged.obs_rms = worlds.obs_rms
    mean, _ = evaluate_policy(model, judged, n_eval_episodes=20)
    return mean


@pytest.mark.slow
def test_a_gated_policy_solves_the_masked_cart_pole():
    """sb3-contrib's bar for its LSTM: 450 of 500 within 50,000 steps, with its sizes and rates.

    A velocity is the difference of two steps, so nothing need be kept for long: at a forget bias of 0 seeds
    1 and 2 reached 500, at the usual 1 seeds 1, 2 and 3 reached 478, 242 and 376.
    """

    def make(worlds):
        core = {"cell": "gated", "lstm_hidden_size": 64, "lstm_kwargs": {"forget_bias": 0.0}}
        kwargs = {**core, "net_arch": {"pi": [], "vf": [64]}}
        return make_model(worlds, policy_kwargs=kwargs, **CART_POLE)

    assert learn_cart_pole(make) >= 450.0


@pytest.mark.slow
def test_without_a_memory_nobody_solves_it():
    def make(worlds):
        return PPO("MlpPolicy", worlds, device="cpu", **CART_POLE)

    assert learn_cart_pole(make) <= 100.0
