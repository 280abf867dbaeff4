"""PPO: the loss by hand, training on exactly what was played, one update, magnets and averages."""

from __future__ import annotations

import copy
import dataclasses
import math
import weakref

import pytest
import torch
from listed import small
from models import consecutive, sharpened, weights

import envs
from agents import CELLS, Opposition, fixed_player
from agents.learn import ppo
from agents.learn.ppo import Sample, evaluate, follow, ppo_loss, replay_drift, update, warmed_up
from agents.learn.rollout import Collector
from agents.learn.settings import NAMES, Moment
from agents.net.distributions import Categorical, masked_log_softmax

CHOICE = Categorical(2)
PLAIN = Moment(clip_range=0.1, normalize_advantage=False, vf_coef=0.0)


def decisions(
    advantage=(1.0, -1.0), old=(0.5, 0.5), value=(0.0, 0.0), target=(0.0, 0.0), counts=None, magnet=None
):
    """Decisions between two legal actions of which the first was taken, with probability `old`."""
    old = torch.tensor(old)
    return Sample(
        action=torch.zeros(len(old), dtype=torch.int64),
        legal=torch.ones(len(old), 2, dtype=torch.bool),
        log_prob=old.log(),
        distribution=torch.stack([old, 1 - old], -1).log(),
        value=torch.tensor(value),
        magnet=torch.zeros(0) if magnet is None else torch.tensor(magnet).log(),
        advantage=torch.tensor(advantage),
        target=torch.tensor(target),
        counts=torch.ones(len(old), dtype=torch.bool) if counts is None else torch.tensor(counts),
    )


def now(*first):
    """Log-probabilities [N, 2] that want gradients; `first` are the probabilities of the first action."""
    first = torch.tensor(first)
    return torch.stack([first, 1 - first], -1).log().requires_grad_()


def part(name, log_probs, sample, coefficients, value=(0.0, 0.0)):
    _, parts = ppo_loss(CHOICE, log_probs, torch.tensor(value), sample, coefficients)
    return pytest.approx(parts[name].item(), abs=1e-6)


# ---------------------------------------------------------------- the loss by hand


# The ratios of the two decisions are 0.6 / 0.5 = 1.2 and 0.3 / 0.5 = 0.6; the clip range is 0.9..1.1.


def test_gains_are_clipped():
    """min(1.2, 1.1) = 1.1 and min(-0.6, -0.9) = -0.9: the loss is -(1.1 - 0.9) / 2."""
    log_probs = now(0.6, 0.3)
    loss, parts = ppo_loss(CHOICE, log_probs, torch.zeros(2), decisions(advantage=(1.0, -1.0)), PLAIN)
    assert loss.item() == pytest.approx(-0.1, abs=1e-6)
    assert parts["clip_fraction"] == 1.0
    loss.backward()
    assert not log_probs.grad.any()  # beyond the clip there is nothing more to gain


def test_losses_are_not_clipped():
    """min(-1.2, -1.1) = -1.2 and min(0.6, 0.9) = 0.6: the loss is -(-1.2 + 0.6) / 2."""
    log_probs = now(0.6, 0.3)
    loss, _ = ppo_loss(CHOICE, log_probs, torch.zeros(2), decisions(advantage=(-1.0, 1.0)), PLAIN)
    assert loss.item() == pytest.approx(0.3, abs=1e-6)
    loss.backward()
    # d loss / d log p = -ratio * advantage / 2
    assert log_probs.grad[:, 0].tolist() == pytest.approx([0.6, -0.3], abs=1e-6)


def test_the_kl_estimate():
    """mean(r - 1 - ln r) = (0.2 - ln 1.2 + -0.4 - ln 0.6) / 2."""
    expected = (0.2 - math.log(1.2) - 0.4 - math.log(0.6)) / 2
    assert expected == part("approx_kl", now(0.6, 0.3), decisions(), PLAIN)


def test_the_value_loss_and_its_clipping():
    """Values 0.5 and -0.5 for targets 1 and 0: (0.25 + 0.25) / 2. Clipped to +-0.2 of the old values 0
    they are 0.2 and -0.2: (0.64 + 0.04) / 2."""
    sample, value = decisions(target=(1.0, 0.0)), (0.5, -0.5)
    clipped = dataclasses.replace(PLAIN, clip_range_vf=0.2)
    assert part("value_loss", now(0.5, 0.5), sample, PLAIN, value) == 0.25
    assert part("value_loss", now(0.5, 0.5), sample, clipped, value) == 0.34


def test_every_term_has_its_weight():
    """Ratios 1, so the policy's part is -(2 - 1) / 2. Entropies ln 2; a magnet at (3/4, 1/4)."""
    coefficients = Moment(
        clip_range=0.1, normalize_advantage=False, ent_coef=0.1, vf_coef=0.5, magnet_coef=0.2
    )
    sample = decisions(advantage=(2.0, -1.0), target=(1.0, 0.0), magnet=[[0.75, 0.25]] * 2)
    loss, _ = ppo_loss(CHOICE, now(0.5, 0.5), torch.zeros(2), sample, coefficients)
    magnet = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    expected = -0.5 + 0.5 * 0.5 - 0.1 * math.log(2) + 0.2 * magnet
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_the_uniform_magnet_is_the_missing_entropy():
    """KL(p || uniform over n legal actions) = ln n - H(p); one decision has 3 legal actions, one has 1."""
    legal = torch.tensor([[True, True, True], [False, True, False]])
    log_probs = masked_log_softmax(torch.tensor([0.5, 0.25, 0.25]).log().repeat(2, 1), legal)
    sample = decisions()._replace(action=torch.tensor([0, 1]), legal=legal, distribution=log_probs)
    _, parts = ppo_loss(
        CHOICE, log_probs, torch.zeros(2), sample, dataclasses.replace(PLAIN, magnet_coef=1.0)
    )
    assert parts["kl_magnet"].item() == pytest.approx((math.log(3) - 1.5 * math.log(2)) / 2, abs=1e-6)


def test_the_kl_to_the_policy_that_played():
    """KL((0.6, 0.4) || (0.5, 0.5)) and KL((0.3, 0.7) || (0.5, 0.5)), halved."""
    expected = sum(p * math.log(p / 0.5) for p in (0.6, 0.4, 0.3, 0.7)) / 2
    kl = dataclasses.replace(PLAIN, kl_coef=1.0)
    assert expected == part("kl_rollout", now(0.6, 0.3), decisions(), kl)


def test_advantages_are_normalised_over_the_decisions_that_count():
    """1 and 3 become -1 and +1 (ratios 1.2 and 0.6, so min(-1.2, -1.1) and min(0.6, 0.9)); 100 has no say."""
    coefficients = dataclasses.replace(PLAIN, normalize_advantage=True)
    sample = decisions(
        advantage=(1.0, 3.0, 100.0),
        old=(0.5, 0.5, 0.5),
        value=(0.0,) * 3,
        target=(0.0,) * 3,
        counts=(True, True, False),
    )
    expected = -(-1.2 + 0.6) / 2
    assert expected == part("policy_gradient_loss", now(0.6, 0.3, 0.9), sample, coefficients, (0.0,) * 3)


@pytest.mark.parametrize("garbage", [-torch.inf, torch.inf, torch.nan, -1e30])
def test_decisions_that_do_not_count_change_neither_loss_nor_gradient(garbage):
    """The third decision was a player's opposite; its recorded log-probability means nothing."""
    coefficients = Moment(ent_coef=0.1, kl_coef=0.1, magnet_coef=0.1)
    two = decisions(advantage=(1.0, -2.0), target=(1.0, 0.0))
    three = decisions((1.0, -2.0, 0.0), (0.5, 0.5, 0.5), (0.0,) * 3, (1.0, 0.0, 7.0), (True, True, False))
    three = three._replace(log_prob=three.log_prob.index_fill(0, torch.tensor([2]), garbage))
    short, long = now(0.6, 0.3), now(0.6, 0.3, 0.9)
    loss, _ = ppo_loss(CHOICE, short, torch.zeros(2), two, coefficients)
    padded, _ = ppo_loss(CHOICE, long, torch.zeros(3), three, coefficients)
    assert padded.item() == pytest.approx(loss.item(), abs=1e-6)
    loss.backward()
    padded.backward()
    torch.testing.assert_close(long.grad[:2], short.grad)
    assert not long.grad[2].any()


def test_an_opponents_action_that_the_mask_forbids_does_no_harm():
    """An opposite player may be shown another mask; the policy's log-probability of its action is -inf."""
    legal = torch.tensor([[True, True], [True, False]])
    logits = torch.zeros(2, 2, requires_grad=True)
    sample = decisions(counts=(True, False))._replace(legal=legal, action=torch.tensor([0, 1]))
    loss, _ = ppo_loss(CHOICE, masked_log_softmax(logits, legal), torch.zeros(2), sample, PLAIN)
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


# ---------------------------------------------------------------- what was played is what is trained on


def largest_drift(model, played):
    rows = torch.arange(model.n_envs, device=model.device)
    return max(float(replay_drift(model.policy, rollout, rows)) for rollout in played)


@pytest.mark.parametrize("game", envs.GAMES)
@pytest.mark.parametrize("cell", CELLS)
def test_replay_equals_play(make_model, device, cell, game):
    model = make_model(small(game), 16, {"cell": cell}, device, n_steps=7, batch_size=7)
    played = consecutive(model)
    assert any(not rollout.start[0].all() for rollout in played[1:])  # some match crosses a border
    assert any(rollout.start[1:].any() for rollout in played[1:])  # and some begins inside
    assert largest_drift(model, played) <= 1e-5


@pytest.mark.parametrize(
    "policy_kwargs",
    [
        {"n_lstm_layers": 2, "lstm_kwargs": {"dropout": 0.3}},
        {"shared_lstm": True, "enable_critic_lstm": False},
        {"enable_critic_lstm": False},
    ],
    ids=["two layers", "shared core", "critic without memory"],
)
def test_replay_equals_play_with_other_cores(make_model, device, policy_kwargs):
    model = make_model("phantom_tictactoe", 16, policy_kwargs, device, n_steps=7, batch_size=7)
    model.policy.train()
    model.policy.eval()
    assert largest_drift(model, consecutive(model)) <= 1e-5


def test_replay_equals_play_with_others_opposite(make_model, device):
    """The policy remembers what it would have done in the seats that others hold; so does the replay."""
    game = envs.make("phantom_tictactoe")
    opposition = Opposition(game, 16, 0.5, [fixed_player("random", game)], pool_size=1)
    model = make_model(game, 16, None, device, n_steps=7, batch_size=7, opposition=opposition)
    opposition.add(model.policy, "past self")
    played = consecutive(model)
    assert not played[0].is_own.all()
    assert largest_drift(model, played) <= 1e-5


def test_a_reset_one_step_late_would_be_noticed(make_model):
    """The measure is no rubber stamp: starts, seats or previous actions that are wrong show at once."""
    model = make_model("phantom_tictactoe", 16, n_steps=7, batch_size=7)
    rollout = consecutive(model)[2]
    assert largest_drift(model, [rollout]) <= 1e-5
    for name, wrong in (
        ("start", rollout.start.roll(1, 0)),
        ("seat", 1 - rollout.seat),
        ("previous", rollout.previous.roll(1, 1)),
    ):
        assert largest_drift(model, [dataclasses.replace(rollout, **{name: wrong})]) > 1e-3, name


# ---------------------------------------------------------------- one update


@pytest.fixture
def task(make_model):
    """A model, a rollout of 8 x 8 decisions of Kuhn poker, and `update` with what the test changes."""
    model = make_model(learning_rate=1e-2)
    collector = Collector(model.batch, model.policy)
    rollout = collector.collect(model.policy, 8, model.generator)

    def run(rollout=rollout, **changed):
        settings = {"n_epochs": 1, "batch_size": 64, "gamma": 1.0, "gae_lambda": 1.0, "max_grad_norm": 1e9}
        settings |= {name: changed.pop(name) for name in NAMES if name in changed}
        return update(model.policy, model.optimizer, rollout, Moment(**settings), **changed)

    return model, rollout, run


def test_an_update_lowers_the_loss(task):
    """On the same rollout with the same targets, ten steps later. The first one's ratios are all 1."""
    _, _, run = task
    first = run()
    assert first["approx_kl"] == pytest.approx(0.0, abs=1e-6)
    assert first["clip_fraction"] == 0.0
    assert first["steps"] == 1
    run(n_epochs=10)
    last = run()
    assert last["loss"] < first["loss"]
    assert last["value_loss"] < first["value_loss"]


def test_what_pays_becomes_more_probable(task):
    """Bets are paid +1 and passes -1: after some updates the policy bets more often."""
    model, rollout, run = task
    rows = torch.arange(8)
    paid = (
        torch.nn.functional.one_hot(rollout.seat, 2) * torch.where(rollout.action == 1, 1.0, -1.0)[..., None]
    )
    paying = dataclasses.replace(rollout, reward=paid, over=torch.ones_like(rollout.over))
    before = evaluate(model.policy, rollout, rows)[0][..., 1].exp().mean()
    run(paying, n_epochs=20)
    assert evaluate(model.policy, rollout, rows)[0][..., 1].exp().mean() > before + 0.08


def test_minibatches_are_whole_matches(task):
    """2 epochs x 8 matches / 2 in a minibatch of 16 decisions = 8 steps."""
    _, _, run = task
    assert run(n_epochs=2, batch_size=16)["steps"] == 8


def test_how_many_minibatches_are_laid_at_once_changes_nothing(task, monkeypatch):
    """All 4 of an epoch, 3 and then the last, or one after another."""
    model, rollout, _ = task
    settings, found = Moment(n_epochs=2, batch_size=16), []
    for laid in (1, 48, 64):
        monkeypatch.setattr(ppo, "LAID", laid)
        policy = copy.deepcopy(model.policy)
        descent = torch.optim.SGD(policy.parameters(), lr=0.1)
        parts = update(policy, descent, rollout, settings, generator=torch.Generator().manual_seed(3))
        found.append((parts, weights(policy)))
    for parts, after in found[1:]:
        assert parts == found[0][0]
        assert all(torch.equal(a, b) for a, b in zip(after, found[0][1], strict=True))


def test_a_minibatch_is_gone_before_the_next_is_replayed(task, monkeypatch):
    _, _, run = task
    seen, real = [], ppo.Replayer.__call__

    def replay(replayer, told):
        assert all(outputs() is None for outputs in seen)
        replayed = real(replayer, told)
        seen.append(weakref.ref(replayed.outputs))
        return replayed

    monkeypatch.setattr(ppo.Replayer, "__call__", replay)
    assert run(n_epochs=2, batch_size=16)["steps"] == len(seen) == 8


def test_target_kl_stops_before_the_step_that_would_follow(task):
    model, _, run = task
    result = run(n_epochs=10, target_kl=1e-7)
    assert result["steps"] == 1  # the first step has KL 0, the second sees what the first changed
    after = weights(model.policy)
    assert run(n_epochs=10, target_kl=1e9)["steps"] == 10
    assert not torch.equal(after[0], weights(model.policy)[0])


def test_a_loss_that_is_not_finite_stops_the_run_and_spares_the_weights(task):
    model, rollout, run = task
    before = weights(model.policy)
    broken = dataclasses.replace(rollout, value=torch.full_like(rollout.value, torch.nan))
    with pytest.raises(FloatingPointError, match="no longer finite; a smaller learning_rate"):
        run(broken)
    assert all(torch.equal(a, b) for a, b in zip(weights(model.policy), before, strict=True))


@pytest.mark.parametrize("cell", ["gated", "elman"])
def test_penalties_are_on_matrices_and_off_by_default(make_model, cell):
    """One step of plain descent with and without: the weights differ by rate * (l1 sign w + 2 l2 w)."""
    model = make_model(policy_kwargs={"cell": cell, "shared_lstm": True, "enable_critic_lstm": False})
    rollout = Collector(model.lanes, model.policy).collect(model.policy, 8)
    after = []
    for l1, l2 in ((0.0, 0.0), (1e-2, 3e-2)):
        policy = copy.deepcopy(model.policy)
        rate = torch.optim.SGD(policy.parameters(), 0.5)
        c = Moment(n_steps=8, batch_size=None, n_epochs=1, max_grad_norm=1e9, l1_coef=l1, l2_coef=l2)
        update(policy, rate, rollout, c)
        after.append(dict(policy.named_parameters()))
    for name, w in model.policy.named_parameters():
        step = 0.5 * (1e-2 * w.sign() + 2 * 3e-2 * w) if w.dim() == 2 else torch.zeros_like(w)
        torch.testing.assert_close(after[1][name], after[0][name] - step, rtol=0.0, atol=1e-6)


def test_gradients_are_clipped_to_their_norm(task):
    """Plain gradient descent with rate 1 and norm 0.01 moves the weights by 0.01."""
    model, rollout, _ = task
    before = weights(model.policy)
    descent = torch.optim.SGD(model.policy.parameters(), lr=1.0)
    settings = Moment(n_epochs=1, batch_size=64, gamma=1.0, gae_lambda=1.0, max_grad_norm=0.01)
    result = update(model.policy, descent, rollout, settings)
    moved = sum((a - b).square().sum() for a, b in zip(weights(model.policy), before, strict=True)).sqrt()
    assert result["grad_norm"] > 0.01
    assert moved.item() == pytest.approx(0.01, rel=1e-3)


def test_the_average_follows_by_its_decay(task):
    """decay 3/4: after one step, 3/4 of the old weights and 1/4 of the new ones."""
    model, _, run = task
    ema, before = copy.deepcopy(model.policy).requires_grad_(False), weights(model.policy)
    run(ema=ema, ema_decay=0.75, ema_steps=1_000)
    for average, old, new in zip(ema.parameters(), before, weights(model.policy), strict=True):
        torch.testing.assert_close(average, 0.75 * old + 0.25 * new)
    follow(ema, model.policy, 0.0)
    assert all(torch.equal(a, b) for a, b in zip(weights(ema), weights(model.policy), strict=True))


# ---------------------------------------------------------------- Stable-Baselines3's face


@pytest.mark.parametrize("magnet", ["uniform", "snapshot", "ema", "start"])
def test_a_strong_magnet_draws_the_policy_to_itself(make_model, magnet):
    """A sharp policy is drawn to the uniform one, and a nearly uniform policy to a sharp magnet."""
    distance = {}
    for coefficient in (0.01, 100.0):
        model = make_model(magnet=magnet, magnet_coef=coefficient, ema_decay=0.999, learning_rate=1e-2)
        sharpened(model.magnet or model.policy)
        model.learn(512)
        rows, rollout = torch.arange(8), model.collector.collect(model.policy, 8)
        with torch.no_grad():
            log_probs, _ = evaluate(model.policy, rollout, rows)
            log_magnet = evaluate(model.magnet, rollout, rows)[0] if model.magnet else torch.tensor(0.5).log()
        distance[coefficient] = float((log_probs - log_magnet).abs().mean())
    assert distance[100.0] < 0.5 * distance[0.01]


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_a_snapshot_is_renewed_every_so_many_updates(make_model, ema_decay):
    """It is of the averaged weights where there are any."""
    model = make_model(magnet="snapshot", magnet_coef=0.1, magnet_every=2, ema_decay=ema_decay)
    first = weights(model.magnet)
    model.learn(64)
    assert all(torch.equal(a, b) for a, b in zip(weights(model.magnet), first, strict=True))
    model.learn(64, reset_num_timesteps=False)
    steadiest = model.policy if ema_decay == 0.0 else model.ema
    assert all(torch.equal(a, b) for a, b in zip(weights(model.magnet), weights(steadiest), strict=True))
    assert ema_decay == 0.0 or not torch.equal(weights(model.ema)[0], weights(model.policy)[0])


def test_what_it_began_with_stays_a_magnet(make_model, tmp_path):
    """Its weights, its memory of its own, and through files; 1.5 % of what it would do is uniform."""
    model = make_model("phantom_tictactoe", magnet="start", magnet_coef=0.1)
    sharpened(model.magnet)
    model.set_parameters({"policy": model.policy.state_dict(), "magnet": model.magnet.state_dict()})
    first = weights(model.magnet)
    model.learn(128)
    assert not all(torch.equal(a, b) for a, b in zip(weights(model.policy), first, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(weights(model.magnet), first, strict=True))

    rollout = model.rollout
    said, _ = evaluate(model.magnet, rollout, torch.arange(8))
    begun = rollout.start.cumsum(0) > 0  # from there on the magnet's memory is that of this match alone
    expected = (0.985 * said.exp() + 0.015 / rollout.legal.sum(-1, keepdim=True)).log()
    expected = expected.masked_fill(~rollout.legal, -torch.inf)
    torch.testing.assert_close(rollout.magnet[begun], expected[begun], rtol=0.0, atol=1e-5)
    assert float(rollout.magnet[rollout.legal].exp().min()) >= 0.015 / 9 - 1e-6

    model.save(tmp_path / "a")
    again = type(model).load(tmp_path / "a", device="cpu")
    assert all(torch.equal(a, b) for a, b in zip(weights(again.magnet), first, strict=True))
    for one in (model, again):
        one.learn(64, reset_num_timesteps=False)
    assert all(torch.equal(a, b) for a, b in zip(weights(again.policy), weights(model.policy), strict=True))


def test_an_average_forgets_what_it_began_with():
    """min(decay, (1 + t) / (5 + t)): 1/5, 2/6, 3/7, ... until it is the decay; at 0.5 after 3 steps."""
    assert [warmed_up(0.999, t) for t in range(4)] == pytest.approx([1 / 5, 2 / 6, 3 / 7, 4 / 8])
    assert [warmed_up(0.5, t) for t in (2, 3, 4, 10**9)] == pytest.approx([3 / 7, 0.5, 0.5, 0.5])
    assert warmed_up(0.999, 3_994) < 0.999
    assert warmed_up(0.999, 3_995) == pytest.approx(0.999, abs=1e-15)
    assert warmed_up(0.0, 5) == 0.0


def test_the_average_follows_from_the_first_step(make_model):
    """One update of two steps: 0.2 of the random weights stays after one, then 2/6 of the average."""
    model = make_model(ema_decay=0.999, n_epochs=1, batch_size=32)
    began = [x.detach().clone() for x in model.policy.parameters()]
    passed, step = [], model.optimizer.step

    def noted(*arguments, **named):
        step(*arguments, **named)
        passed.append([x.detach().clone() for x in model.policy.parameters()])

    model.optimizer.step = noted
    model.learn(64)
    assert model.ema_steps == len(passed) == 2
    for average, start, one, two in zip(model.ema.parameters(), began, *passed, strict=True):
        first = 0.2 * start + 0.8 * one
        torch.testing.assert_close(average, 2 / 6 * first + 4 / 6 * two)
    model.learn(64)
    assert model.ema_steps == 4
