"""Minds: exact probabilities at every set, whatever the chunk, for policies of all kinds and for bots."""

from __future__ import annotations

import dataclasses

import gymnasium
import numpy as np
import pytest
import torch

import envs
from agents.net.policy import RecurrentPolicy
from agents.play.bots import BOTS
from agents.play.minds import BotMind, PolicyMind, roll, situations_of
from agents.play.players import Agent, fixed_player
from envs.compiled import compiled
from envs.core import verb
from envs.games.dark_hex import DarkHex
from envs.tree import build


@verb
def observe_planes(s, seat, out):
    """Own stones, and the other's that were found."""
    for c in range(s.board.shape[0]):
        stone = s.known[seat, c]
        if stone > 0:
            out[0 if stone == seat + 1 else 1, c // s.cols, c % s.cols] = 1


@dataclasses.dataclass(frozen=True)
class PlanesHex(DarkHex):
    """Dark hex that is shown as planes, as a spatial policy needs it."""

    observe = staticmethod(observe_planes)

    @property
    def observation_space(self):
        return gymnasium.spaces.Box(0, 1, (2, self.rows, self.cols), np.int8)


@pytest.fixture(scope="module")
def tree():
    return build(envs.make("dark_hex", rows=2))


@pytest.fixture(scope="module")
def planes():
    return build(PlanesHex(rows=2))


def policy_of(game, **kwargs):
    torch.manual_seed(5)
    kwargs = {"lstm_hidden_size": 8, "features_dim": 8} | kwargs
    policy = RecurrentPolicy(game.observation_space, game.actions, 2, **kwargs)
    with torch.no_grad():
        for weight in policy.parameters():
            weight.mul_(2.0)
    return policy


def mind_of(tree, policy):
    agent = Agent(policy, tree.game)
    return PolicyMind(policy, False, lambda shown, seat: (agent.task.pack(shown)[0], seat))


# ---------------------------------------------------------------- situations and chunks


def test_a_situation_is_what_is_shown_and_legal_the_seat_and_the_last_action(tree):
    told, which = situations_of(tree)
    assert len(told.seat) < tree.sets / 3
    for i in range(0, tree.sets, 97):
        c, q = which[i], tree.parent[i]
        assert (told.shown[c] == tree.observations[tree.sees[i]]).all()
        actions = tree.action[tree.begin[i] : tree.begin[i + 1]]
        assert np.flatnonzero(told.legal[c]).tolist() == actions.tolist()
        assert told.seat[c] == tree.seat()[i]
        assert told.previous[c] == (6 if q < 2 else tree.action[q])


class Counting:
    """A mind that takes the first legal action and notes at how many sets it is asked."""

    device = torch.device("cpu")

    def __init__(self):
        self.asked = 0

    def meet(self, situations):
        self.legal = situations.legal

    def begin(self, situation):  # noqa: ARG002
        return None

    def decide(self, situation, memory):  # noqa: ARG002
        self.asked += len(situation)
        return np.eye(self.legal.shape[1])[self.legal[situation].argmax(1)], None

    def remember(self, after, rows, action):  # noqa: ARG002
        return None


def test_sets_that_leave_no_choice_are_not_asked(tree):
    """On 2 x 3 boards the last move of all, which nothing follows; the other sets have two actions or more,
    or another decision behind them."""
    mind = Counting()
    table = roll(tree, mind)
    leads_on = np.isin(np.arange(tree.sequences), tree.parent)
    forced = [
        i for i in range(tree.sets) if tree.begin[i + 1] - tree.begin[i] == 1 and not leads_on[tree.begin[i]]
    ]
    assert len(forced) > tree.sets / 5
    assert mind.asked == tree.sets - len(forced)
    first = np.zeros(tree.sequences)
    first[:2] = first[tree.begin[:-1]] = 1.0
    assert (table == first).all()


@pytest.mark.parametrize("spatial", [False, True])
def test_chunks_change_nothing(tree, planes, spatial):
    here = planes if spatial else tree
    policy = policy_of(here.game, spatial=spatial)
    expected = here.evaluate(roll(here, mind_of(here, policy)))
    for chunk in (1, 7, 64, 100_000):
        told = here.evaluate(roll(here, mind_of(here, policy), chunk))
        assert told.exploitability == pytest.approx(expected.exploitability, abs=1e-12)
        assert told.value == pytest.approx(expected.value, abs=1e-12)


def test_threads_change_nothing(tree):
    policy, told, before = policy_of(tree.game), [], torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        told.append(tree.evaluate(roll(tree, mind_of(tree, policy))).exploitability)
    torch.set_num_threads(before)
    assert told[0] == pytest.approx(told[1], abs=1e-12)


@pytest.mark.parametrize(
    "kwargs", [{}, {"skip_connection": True, "n_lstm_layers": 2, "net_arch": [5]}, {"cell": "gru"}]
)
def test_a_spatial_policy(planes, kwargs):
    """Its memory of every square, along 20 random matches, against `look` in float32."""
    policy, random = policy_of(planes.game, spatial=True, **kwargs), np.random.default_rng(0)
    table = roll(planes, mind_of(planes, policy))
    for seed in range(20):
        match, own = envs.Match(planes.game, seed), [0, 1]
        memory, start = policy.initial_memory(1), torch.tensor([True])
        while not match.over:
            p = match.seat
            i = planes.find(own[p], match.observation(p))
            rows, who = slice(planes.begin[i], planes.begin[i + 1]), torch.tensor([p])
            shown, legal = torch.as_tensor(match.observation(p))[None], torch.as_tensor(match.mask())[None]
            told, memory = policy.look(shown, legal, who, start, memory)
            assert told[0][legal[0]].tolist() == pytest.approx(table[rows].tolist(), abs=1e-5)
            k = int(random.integers(rows.stop - rows.start))
            own[p], action = int(rows.start) + k, int(planes.action[rows.start + k])
            memory, start = memory.remember(who, torch.tensor([action])), torch.tensor([False])
            match.play(action)


def test_the_policy_is_left_as_it_is(tree):
    policy = policy_of(tree.game)
    roll(tree, mind_of(tree, policy))
    assert {weight.dtype for weight in policy.parameters()} == {torch.float32}


def test_progress_is_told(tree):
    shares = []
    roll(tree, mind_of(tree, policy_of(tree.game)), on_progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


# ---------------------------------------------------------------- bots


def test_the_ties_of_the_bot_of_dark_hex(tree):
    """Its shares are what 60,000 draws give, at the root and after a collision, within 4 standard errors."""
    bot, draws = fixed_player("bot", tree.game), 60_000
    table = bot.table(tree)
    assert np.unique(table.round(9)).tolist() == pytest.approx([0, *(1 / n for n in (6, 5, 4, 3, 2, 1))])
    for i in (0, 5, 100, 700, 1_000):
        rows = slice(tree.begin[i], tree.begin[i + 1])
        shown = torch.as_tensor(tree.observations[tree.sees[i]]).expand(draws, -1)
        legal = torch.zeros(draws, 6, dtype=torch.bool)
        legal[:, tree.action[rows].astype(int)] = True
        bot.reset(draws)
        actions = bot.act(shown, legal, torch.full((draws,), int(tree.seat()[i])))
        drawn = np.bincount(actions.numpy(), minlength=6)[tree.action[rows]] / draws
        for p, frequency in zip(table[rows], drawn, strict=True):
            assert abs(frequency - p) <= 4 * (p * (1 - p) / draws) ** 0.5


def test_the_bot_of_kuhn_poker_loses_a_sixth():
    """It bets the king, calls with the queen and lets the jack go: it never bluffs, and is never called."""
    tree = build(envs.make("kuhn_poker"))
    table = fixed_player("bot", tree.game).table(tree)
    assert set(table.tolist()) == {0.0, 1.0}
    assert tree.evaluate(table).exploitability == pytest.approx(1 / 6)


def test_a_bot_that_takes_notes():
    """Naming no action twice: each of the shots that are left with the same probability."""
    game = envs.make("battleship", seats=2, rows=2, cols=2, ships="2", values="1", shots=2)
    tree = build(game)
    table = fixed_player("bot", game).table(tree)
    before = {}
    for i in range(tree.sets):
        q = int(tree.parent[i])
        named = before.get(q, ()) if q >= 2 else ()
        actions = [int(a) for a in tree.action[tree.begin[i] : tree.begin[i + 1]]]
        new = [a for a in actions if a not in named] or actions
        for k, a in enumerate(actions):
            before[int(tree.begin[i]) + k] = (*named, a)
            expected = 1 / len(new) if a in new else 0.0
            assert table[tree.begin[i] + k] == pytest.approx(expected, abs=1e-12)


@compiled
def wavering(_observation, legal, _seat, tie, _columns, notes):
    notes[0] = np.int16(2 * tie)
    return np.flatnonzero(legal)[0]


def test_notes_that_say_more_than_what_was_done_are_refused(tree):
    with pytest.raises(ValueError, match="wavering: expected notes that follow from what a seat has seen"):
        roll(tree, BotMind("wavering", wavering, 6, 3))


@pytest.mark.parametrize("name", ["kuhn_poker", "leduc_poker", "liars_dice", "goofspiel", "dark_hex"])
def test_every_bot_of_a_small_game_has_a_table(name):
    game = envs.make(name, **({"rows": 2, "cols": 2} if name == "dark_hex" else {}))
    tree = build(game)
    for bot in BOTS[name]:
        tree.evaluate(fixed_player(bot, game).table(tree))
