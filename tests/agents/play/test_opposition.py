"""Who sits opposite: how often, in which seat, for how long, and that it really plays."""

from __future__ import annotations

import pytest
import torch

import envs
from agents import MaskableRecurrentPPO, Opposition, Player, fixed_player
from agents.learn.rollout import Collector
from agents.net.policy import RecurrentPolicy
from agents.play.opposition import set_generator
from agents.play.players import Agent, RandomPlayer

B = 8
KUHN, TICTACTOE = envs.make("kuhn_poker"), envs.make("phantom_tictactoe")


class Edge(Player):
    """Always takes the lowest (or the highest) legal action, and notes what it was asked."""

    def __init__(self, game, name, takes_highest=False):
        super().__init__(game, name)
        self.takes_highest = takes_highest
        self.asked = []

    def choose(self, observation, legal, seat, rows):  # noqa: ARG002
        self.asked.append((rows, seat))
        return edge(legal, self.takes_highest)


def edge(legal, highest):
    return legal.shape[-1] - 1 - legal.int().flip(-1).argmax(-1) if highest else legal.int().argmax(-1)


def make_policy(game, seed=0):
    torch.manual_seed(seed)
    return RecurrentPolicy(
        game.observation_space, game.actions, game.seats, lstm_hidden_size=8, features_dim=8
    )


def play(game, opposition, steps, policy=None, batch_seed=0):
    """A rollout with `opposition`."""
    policy = policy or make_policy(game)
    collector = Collector(envs.Batch(game, B, seed=batch_seed), policy, opposition)
    return collector.collect(policy, steps, torch.Generator().manual_seed(0))


def matches_of(rollout, lane):
    """The steps of each match that `lane` played to the end, as lists."""
    ends = torch.nonzero(rollout.over[:, lane])[:, 0].tolist()
    return [
        list(range(first, end + 1)) for first, end in zip([0, *(e + 1 for e in ends)], ends, strict=False)
    ]


def test_the_other_players_actions_are_played_and_marked():
    """The lowest legal action in kuhn is to pass: every decision that is not the policy's own is a pass."""
    opposition = Opposition(KUHN, B, 1.0, [Edge(KUHN, "passes")])
    rollout, player = play(KUHN, opposition, 30), opposition.players[0]
    assert (rollout.action[~rollout.is_own] == 0).all()
    assert rollout.action[rollout.is_own].unique().tolist() == [0, 1]
    assert sum(len(rows) for rows, _ in player.asked) == (~rollout.is_own).sum()
    told = [
        (int(row), int(seat))
        for rows, seats in player.asked[:1]
        for row, seat in zip(rows, seats, strict=True)
    ]
    theirs = torch.nonzero(~rollout.is_own[0])[:, 0].tolist()
    assert told == [(lane, 0) for lane in theirs]


def test_the_policys_own_decisions_keep_their_log_probability():
    rollout = play(KUHN, Opposition(KUHN, B, 1.0, [Edge(KUHN, "passes")]), 30)
    played = rollout.distribution.gather(-1, rollout.action[..., None])[..., 0]
    assert torch.equal(played[rollout.is_own], rollout.log_prob[rollout.is_own])


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_only_a_share_of_the_lanes_has_others_opposite(share):
    """Of 8 lanes the first 8 * share; in the rest the policy plays both seats."""
    opposition = Opposition(KUHN, B, share, [Edge(KUHN, "passes")])
    rollout = play(KUHN, opposition, 30)
    assert (~rollout.is_own).any(0).tolist() == [lane < B * share for lane in range(B)]


def test_nobody_can_sit_opposite_in_a_game_for_one():
    game = envs.make("minesweeper")
    with pytest.raises(
        ValueError, match=r"minesweeper is played alone here: the share of matches .* must be 0"
    ):
        Opposition(game, B, 0.5, [Edge(game, "passes")])


def test_the_policy_changes_its_seat_with_every_match():
    """The k-th match of lane b: the policy holds seat (b + k) mod 2, and only that one."""
    rollout = play(KUHN, Opposition(KUHN, B, 1.0, [Edge(KUHN, "passes")]), 30)
    for lane in range(B):
        played = matches_of(rollout, lane)
        assert len(played) >= 9
        for k, steps in enumerate(played):
            own_seats = rollout.seat[steps, lane][rollout.is_own[steps, lane]].unique().tolist()
            their_seats = rollout.seat[steps, lane][~rollout.is_own[steps, lane]].unique().tolist()
            assert (own_seats, their_seats) == ([(lane + k) % 2], [(lane + k + 1) % 2])


def test_an_opponent_stays_for_the_whole_match():
    """Two players, told apart by their moves: in a match all moves are one's, in all matches both occur."""
    players = [Edge(TICTACTOE, "low"), Edge(TICTACTOE, "high", takes_highest=True)]
    rollout = play(TICTACTOE, Opposition(TICTACTOE, B, 1.0, players), 80)
    low, high = (rollout.action == edge(rollout.legal, highest) for highest in (False, True))
    seen = set()
    for lane in range(B):
        for steps in matches_of(rollout, lane):
            theirs = ~rollout.is_own[steps, lane]
            is_low, is_high = bool(low[steps, lane][theirs].all()), bool(high[steps, lane][theirs].all())
            assert is_low != is_high
            seen.add("low" if is_low else "high")
    assert seen == {"low", "high"}


def test_the_pool_keeps_the_latest_past_selves():
    """Five are added to a pool of two; the others leave as soon as no match is played against them."""
    opposition = Opposition(KUHN, B, 1.0, pool_size=2)
    assert play(KUHN, opposition, 5).is_own.all()  # the pool is empty: the policy plays itself
    for k in range(5):
        opposition.add(make_policy(KUHN, k), f"past self {k}")
        opposition.restart(torch.tensor([True, False] * (B // 2)))
    sitting = {int(number) for number in opposition.opponent.unique() if number >= 0}
    assert len(opposition.pool) == 2
    assert sitting | set(opposition.pool) == set(opposition.players)
    opposition.restart(torch.ones(B, dtype=torch.bool))
    assert sorted(player.name for player in opposition.players.values()) == ["past self 3", "past self 4"]


def test_without_a_pool_nothing_is_added():
    opposition = Opposition(KUHN, B, 1.0, [Edge(KUHN, "passes")])
    opposition.add(make_policy(KUHN), "past self")
    assert [player.name for player in opposition.players.values()] == ["passes"]


def test_a_past_self_does_not_learn_on():
    policy = make_policy(KUHN)
    opposition = Opposition(KUHN, B, 1.0, pool_size=1)
    opposition.add(policy, "past self")
    (past,) = opposition.players.values()
    before = past.policy.core.cells[0].W.clone()
    with torch.no_grad():
        policy.core.cells[0].W.add_(1.0)
    assert torch.equal(past.policy.core.cells[0].W, before)
    assert not any(weight.requires_grad for weight in past.policy.parameters())


def test_a_past_self_has_a_memory_of_its_own_that_ends_with_the_match():
    """After a rollout it remembers the running matches it sits in, and only the seats it holds there."""
    opposition = Opposition(TICTACTOE, B, 1.0, pool_size=1)
    policy = make_policy(TICTACTOE)
    opposition.add(policy, "past self")
    opposition.restart(torch.ones(B, dtype=torch.bool))
    play(TICTACTOE, opposition, 4, policy)
    (past,) = opposition.players.values()
    assert isinstance(past, Agent)
    h = past.memory.cores[0][0]
    for lane in range(B):
        own = int(opposition.own_seat[lane])
        assert not h[lane, own].any()
        assert h[lane, 1 - own].any()
    assert not past.start.any()
    opposition.restart(torch.tensor([True] + [False] * (B - 1)))
    assert past.start.tolist() == [True] + [False] * (B - 1)


def test_saved_and_loaded_it_goes_on_the_same():
    """A pool, a random player and drawn opponents: the same matches afterwards, decision by decision."""

    def fresh():
        return Opposition(TICTACTOE, B, 0.75, [RandomPlayer(TICTACTOE, seed=3)], pool_size=2, seed=4)

    policy, one, two = make_policy(TICTACTOE), fresh(), fresh()
    for k in range(3):
        one.add(make_policy(TICTACTOE, k), f"past self {k}")
        one.restart(torch.tensor([True, False] * (B // 2)))
    batch = envs.Batch(TICTACTOE, B)
    collector = Collector(batch, policy, one)
    collector.collect(policy, 11, torch.Generator().manual_seed(0))
    other = Collector(envs.Batch(TICTACTOE, B, seed=99), policy, two)
    other.lanes.load_state_dict(batch.state_dict())
    assert two.load_state_dict(one.state_dict(), policy)
    other.load_state_dict(collector.state_dict(), policy)
    r, s = (c.collect(policy, 30, torch.Generator().manual_seed(1)) for c in (collector, other))
    for name in ("action", "is_own", "over", "observation", "log_prob"):
        assert torch.equal(getattr(r, name), getattr(s, name)), name
    assert not r.is_own.all()
    assert one.pool == two.pool
    assert torch.equal(one.opponent, two.opponent)


def test_learning_anew_begins_new_matches_for_the_opponents_too(make_model, monkeypatch):
    """A second `learn` breaks off the running matches; no opponent may remember them in the new ones."""
    opposition = Opposition(TICTACTOE, B, 1.0, pool_size=1)
    model = make_model(TICTACTOE, B, n_steps=4, batch_size=8, opposition=opposition)
    opposition.add(model.policy, "past self")
    opposition.restart(torch.ones(B, dtype=torch.bool))
    model.learn(B * 4)  # 4 decisions a match: none has ended yet
    (past,) = opposition.players.values()
    assert not past.start.any()

    is_fresh, act = [], opposition.act
    monkeypatch.setattr(opposition, "act", lambda *a: is_fresh.append(past.start.clone()) or act(*a))
    model.learn(B * 4)
    assert is_fresh[0].all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"share": 1.5}, r"share of matches against others must be in 0..1, got 1.5"),
        ({"share": -0.1}, r"must be in 0..1, got -0.1"),
        ({"share": 0.5}, "need opponents: fixed players or a pool_size of at least 1"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Opposition(KUHN, B, **arguments)


def test_the_pool_moves_to_another_number_of_matches():
    """The past selves come along with their weights, in the fixed player's company; seats begin anew."""
    fixed = [RandomPlayer(TICTACTOE, seed=3)]
    one, policy = Opposition(TICTACTOE, B, 1.0, fixed, pool_size=2, seed=4), make_policy(TICTACTOE)
    for k in range(3):
        one.add(make_policy(TICTACTOE, k), f"past self {k}")
        one.restart(torch.ones(B, dtype=torch.bool))
    two = Opposition(TICTACTOE, 3, 1.0, fixed, pool_size=2, seed=4)
    two.load_pool(one.state_dict(), policy)
    assert (two.pool, two.newest, two.lanes) == (one.pool, one.newest, 3) == ([2, 3], 3, 3)
    for number in two.pool:
        for name, x in one.players[number].policy.state_dict().items():
            assert torch.equal(two.players[number].policy.state_dict()[name], x)
    assert two.own_seat.tolist() == [0, 1, 0]
    two.restart(torch.ones(3, dtype=torch.bool))
    assert set(two.opponent.tolist()) <= {0, 2, 3}
    play_on = Collector(envs.Batch(TICTACTOE, 3), policy, two)
    assert not play_on.collect(policy, 20, torch.Generator().manual_seed(0)).is_own.all()


def test_a_fixed_player_is_copied():
    """The caller's agent sits at a match of its own, in the middle of it, and may sit in two oppositions."""
    agent = Agent(make_policy(TICTACTOE), TICTACTOE)
    agent.reset(1)
    match = envs.Match(TICTACTOE, seed=0)
    agent.act(match.observation(0), match.mask(), seat=0)
    before = {name: x.clone() for name, x in agent.state_dict().items()}
    for matches in (B, 3):
        play(TICTACTOE, Opposition(TICTACTOE, B, 1.0, [agent]), 6)
        Opposition(TICTACTOE, matches, 1.0, [agent, agent])
    assert all(torch.equal(x, before[name]) for name, x in agent.state_dict().items())
    assert agent.matches == 1


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("own_seat", 2, r"own_seat must be in 0..1, got \[2\]"),
        ("own_seat", -1, "own_seat must be in 0..1"),
        ("opponent", 7, r"opponents are \[7\], expected some of \[-1, 0, 1\]"),
        ("opponent", 0, "in the 4 matches without one"),
        ("pool", torch.tensor([0]), "must be numbers from 1 on"),
        ("pool", torch.tensor([5]), "each of the pool have its weights"),
        ("pool", torch.tensor([1] * 9), "at most 2 numbers"),
        ("pool", torch.tensor([1.0]), "at most 2 numbers"),
        ("newest", 0, "newest past self is 0"),
        ("newest", -(2**63), "newest past self"),
        ("generator", torch.zeros(7, dtype=torch.uint8), "generator is not the state of a generator"),
        ("generator", torch.zeros(5056, dtype=torch.uint8), "no state that a generator comes to"),
        ("player.1.previous", 99, "previous action is out of range"),
        ("player.1.core.0", torch.nan, "core.0 holds numbers that are not finite"),
        ("player.1.start", torch.zeros(99, dtype=torch.bool), r"start is torch.bool \(99,\)"),
        ("player.0.notes", torch.zeros(1), "1 too much|too much and lacks"),
        ("weights.1.value_head.0.bias", torch.zeros(2), r"is torch.float32 \(2,\)"),
        ("weights.1.other", torch.zeros(2), "past self 1 is another network"),
        ("weights.01.other", torch.zeros(2), "too much"),
        ("weights.x.other", torch.zeros(2), "must be numbers from 1 on"),
    ],
)
def test_a_foreign_state_is_refused(name, value, message):
    def fresh():
        return Opposition(TICTACTOE, B, 0.5, [RandomPlayer(TICTACTOE, seed=3)], pool_size=2, seed=4)

    one, policy = fresh(), make_policy(TICTACTOE)
    one.add(policy, "past self")
    one.restart(torch.ones(B, dtype=torch.bool))
    state = one.state_dict()
    assert fresh().load_state_dict(state, policy)
    state[name] = value if isinstance(value, torch.Tensor) else torch.full_like(state[name], value)
    with pytest.raises(ValueError, match=message):
        fresh().load_state_dict(state, policy)


def test_a_generator_that_reads_beyond_its_numbers_is_refused():
    """600 numbers left, the next one at place 600 of 624: torch takes it and would read on behind them."""
    state = torch.Generator().manual_seed(1).get_state()
    state.numpy()[8:12].view("i4")[0] = 600
    state.numpy()[16:24].view("i8")[0] = 600
    torch.Generator().set_state(state)
    with pytest.raises(ValueError, match="no state that a generator comes to"):
        set_generator(torch.Generator(), {"generator": state}, "generator", 0)
    for draws in (0, 1, 623, 624, 625, 5_000):
        generator = torch.Generator().manual_seed(1)
        torch.rand(draws, generator=generator)
        other = torch.Generator()
        assert set_generator(other, {"generator": generator.get_state()}, "generator", 0)
        assert torch.equal(torch.rand(3, generator=other), torch.rand(3, generator=generator))


def test_a_generator_of_another_kind_of_device_begins_at_the_seed():
    """CUDA's state is 16 bytes, the CPU's 5,056."""
    generator = torch.Generator()
    assert not set_generator(generator, {"generator": torch.zeros(16, dtype=torch.uint8)}, "generator", 7)
    assert torch.equal(
        torch.rand(3, generator=generator), torch.rand(3, generator=torch.Generator().manual_seed(7))
    )


def test_an_opposition_for_other_matches_is_refused(make_model):
    game = envs.make("kuhn_poker")
    opposition = Opposition(game, 4, 0.5, [fixed_player("random", game)])
    with pytest.raises(ValueError, match="the opposition sits at 4 matches, the env has 8"):
        make_model(game, 8, opposition=opposition)


@pytest.mark.parametrize("kind", ["world", "another game", "another number"])
def test_an_opposition_sits_at_the_matches_it_was_made_for(kind):
    kuhn = envs.make("kuhn_poker")
    opposition = Opposition(kuhn, 4, 0.5, [fixed_player("random", kuhn)])
    where, message = {
        "world": ("CartPole-v1", "sits at the matches of a game; a Gymnasium world takes none"),
        "another game": (envs.Batch(envs.make("leduc_poker"), 4), r"plays KuhnPoker\(\), the env LeducPoker"),
        "another number": (envs.Batch(kuhn, 8), "sits at 4 matches, the env has 8"),
    }[kind]
    arguments = {"n_steps": 4, "batch_size": 4, "device": "cpu"}
    with pytest.raises(ValueError, match=message):
        MaskableRecurrentPPO("MlpLstmPolicy", where, opposition=opposition, **arguments)
