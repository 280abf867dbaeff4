"""fit: what a batch does is torch's own step, and a run goes on bit for bit where its state was taken."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from made_setups import made_lines
from torch import nn

from agents.learn.judged import judge, score
from agents.learn.learners import TokenLearner
from agents.learn.schedules import Linear
from agents.learn.sequence import Fit, FitSettings
from agents.learn.streams import arrangements, with_mirrored
from agents.net.tokens import TokenModel
from agents.play.records import setups

SETTINGS = FitSettings(sequences=8, n_steps=16, learning_rate=Linear(1e-2))


class Silent:
    """Keeps nothing, and ends training after so many batches."""

    def __init__(self, batches=10**9):
        self.left = batches

    def on_training_start(self, *_):
        pass

    on_training_end = on_rollout_start = on_training_start

    def on_step(self):
        self.left -= 1
        return self.left >= 0

    def record(self, *_):
        pass

    dump = record


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("setups") / "made.txt"
    path.write_text("".join(made_lines(40)), encoding="utf-8")
    return arrangements(setups.load(path))


def fit_of(data, settings=SETTINGS, **network):
    torch.manual_seed(0)
    model = TokenModel(13, **{"embedding_dim": 8, "lstm_hidden_size": 16, "n_lstm_layers": 2} | network)
    fit = Fit(TokenLearner(model), data, settings, seed=3)
    fit.set_logger(Silent())
    return fit


def test_one_batch_is_a_step_of_torch_s_rmsprop(data):
    """The whole file at once, without clipping: the same by hand, the penalty of l2 within the loss."""
    settings = FitSettings(sequences=40, n_steps=40, max_grad_norm=1e9, l2_coef=1e-3)
    fit = fit_of(data, settings)
    by_hand = fit_of(data, settings).policy.double()
    fit.policy.double()
    fit.cores = tuple(part.double() for part in fit.cores)
    fit.learn(1, Silent())

    target = data.target.view(40, 40).t()
    previous = data.told["previous"].view(40, 40).t()
    start = torch.zeros(40, 40, dtype=torch.bool)
    start[0] = True
    logits, _ = by_hand(previous, start, by_hand.initial_cores(40))
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten())
    loss = loss + 1e-3 * sum(p.square().sum() for p in by_hand.parameters() if p.dim() == 2)
    loss.backward()
    for p, q in zip(fit.policy.parameters(), by_hand.parameters(), strict=True):
        step = 1e-3 * q.grad / ((0.1 * q.grad.square()).sqrt() + 1e-8)
        torch.testing.assert_close(p, q - step, rtol=0.0, atol=1e-7)


def test_what_is_remembered_goes_on_from_piece_to_piece(data):
    """With a rate of 0 the losses of pieces of 16 steps are those of whole sequences."""
    told = []
    for n_steps in (16, 40):
        fit = fit_of(data, dataclasses.replace(SETTINGS, n_steps=n_steps, learning_rate=0.0))
        fit.learn(len(data.target), Silent())
        loss, _, _, _, decisions = fit.sums.tolist()
        assert (decisions, fit.epoch, fit.at) == (1600, 1, 0)
        told.append(loss / decisions)
    assert told[0] == pytest.approx(told[1], rel=1e-6)
    expected = score(data, judge(fit.learner, data)).loss
    assert told[0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_it_goes_on_bit_for_bit(data, dropout):
    """Taken in the middle of an epoch, amid other people's draws: weights and sums are those of one run."""
    straight = fit_of(data, dropout=dropout)
    straight.learn(3200, Silent())

    first = fit_of(data, dropout=dropout)
    first.learn(3200, Silent(batches=9))
    first.num_timesteps = 9 * 128  # the batch that was refused is not learned from
    assert first.at > 0
    again = fit_of(data, dropout=dropout)
    again.policy.load_state_dict(first.policy.state_dict())
    again.load_state_dict(first.state_dict())
    torch.rand(5)
    again.learn(3200 - again.num_timesteps, Silent())
    assert again.num_timesteps == straight.num_timesteps == 3200
    for name, x in straight.policy.state_dict().items():
        assert torch.equal(x, again.policy.state_dict()[name]), name
    for name, x in straight.state_dict().items():
        assert torch.equal(x, again.state_dict()[name]), name


def test_draws_of_dropout_are_nobody_else_s(data):
    torch.manual_seed(5)
    expected = torch.rand(3)
    fit = fit_of(data, dropout=0.5)
    torch.manual_seed(5)
    fit.learn(256, Silent())
    assert torch.equal(torch.rand(3), expected)


def test_it_learns_what_there_is_to_learn(data):
    """Bombs and flag stand behind in every one. Who knows that, and how many there are of the others, needs

    (33 H(1, 8, 5, 4, 4, 4, 3, 2, 1, 1) + 7 H(6, 1)) / 40 = 1.76 nats a piece
    """

    def entropy(*counts):
        return -sum(n / sum(counts) * math.log(n / sum(counts)) for n in counts)

    fit = fit_of(data, dataclasses.replace(SETTINGS, n_steps=40))
    before = score(data, judge(fit.learner, data)).loss
    fit.learn(60 * 1600, Silent())
    after = score(data, judge(fit.learner, data)).loss
    known = (33 * entropy(1, 8, 5, 4, 4, 4, 3, 2, 1, 1) + 7 * entropy(6, 1)) / 40
    assert before == pytest.approx(math.log(13), abs=0.1)
    assert after < known + 0.05


def test_mirrored_ones_are_new_sequences_of_the_same_groups(data):
    both = with_mirrored(data)
    assert len(both) == 2 * len(data)
    assert torch.equal(both.group[:40], both.group[40:])
    assert torch.equal(both.target.view(-1, 4, 10)[40:], data.target.view(-1, 4, 10).flip(2))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s: s.pop("epoch"), "lacks 'epoch'"),
        (lambda s: s.update(at=torch.tensor(999)), "is at step 999 of 200"),
        (lambda s: s.update(at=torch.tensor(-1)), "must be 0 or more"),
        (lambda s: s.update({"core.0": torch.zeros(1)}), "core.0"),
    ],
)
def test_a_state_of_something_else_is_refused(data, change, told):
    fit = fit_of(data)
    state = fit.state_dict()
    change(state)
    with pytest.raises(ValueError, match=told):
        fit.load_state_dict(state)


def test_a_loss_that_is_no_number_ends_it(data):
    fit = fit_of(data)
    with torch.no_grad():
        fit.policy.head.bias[0] = torch.inf
    with pytest.raises(FloatingPointError, match="the loss is no longer finite"):
        fit.learn(128, Silent())


@pytest.mark.parametrize(("name", "wrong"), [("learning_rate", -1.0), ("decay", 1.0), ("sequences", 0)])
def test_settings_that_cannot_be_are_refused(name, wrong):
    with pytest.raises(ValueError, match=f"{name} must be "):
        FitSettings(**{name: wrong})
