"""Players: fair random ones, fixed ones by name, agents that remember their own match."""

from __future__ import annotations

import pytest
import torch
from gymnasium import spaces
from listed import PLAIN
from models import make_agent
from saved import KUHN, TICTACTOE
from world_runs import lowest

import envs
from agents import FIXED_PLAYERS, fixed_player
from agents.net.policy import RecurrentPolicy
from agents.net.task import World
from agents.play.players import Agent, RandomPlayer, SeatedAgent
from envs.adapters.gymnasium import FogboundEnv
from envs.seated import seated_space

# ---------------------------------------------------------------- the random player


def test_the_random_player_is_uniform_over_what_is_legal():
    """60,000 decisions between actions 1, 2, 5, 8: each n / 4 +- 4 standard errors sqrt(n * 3 / 16)."""
    n = 60_000
    mask = torch.zeros(n, 9, dtype=torch.bool)
    mask[:, [1, 2, 5, 8]] = True
    player = RandomPlayer(TICTACTOE)
    player.reset(n)
    counts = player.act(torch.zeros(n, 9, dtype=torch.uint8), mask, torch.zeros(n)).bincount(minlength=9)
    assert counts[[0, 3, 4, 6, 7]].sum() == 0
    assert ((counts[[1, 2, 5, 8]] - n / 4).abs() <= 4 * (n * 3 / 16) ** 0.5).all()


def test_a_seed_makes_the_random_player_repeatable_and_its_state_resumes_it():
    one, two, other = (RandomPlayer(TICTACTOE, seed=seed) for seed in (1, 1, 2))
    seen = torch.zeros(100, 9, dtype=torch.uint8)
    for player in (one, two, other):
        player.reset(100)
    seat = torch.zeros(100)
    assert torch.equal(one.act(seen, seat=seat), two.act(seen, seat=seat))
    assert not torch.equal(one.act(seen, seat=seat), other.act(seen, seat=seat))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.act(seen, seat=seat), other.act(seen, seat=seat))


# ---------------------------------------------------------------- the bots


def test_fixed_players_come_by_name():
    assert list(FIXED_PLAYERS) == ["random", "bot", "expander", "greedy"]
    for name, kind in FIXED_PLAYERS.items():
        player = fixed_player(name, PLAIN)
        assert (type(player), player.name) == (kind, name)
    assert fixed_player("bot", KUHN).name == "bot"
    with pytest.raises(
        ValueError, match=r"unknown player 'alphago'; known are bot, .* random, or module:Name"
    ):
        fixed_player("alphago", KUHN)
    with pytest.raises(ValueError, match=r"^kuhn_poker has no expander; games with one are generals$"):
        fixed_player("expander", KUHN)


# ---------------------------------------------------------------- agents and their memory


def story(agent, asked_at_once, steps=5, matches=6):
    """Deterministic decisions [T, B] on made-up observations of both seats."""
    generator = torch.Generator().manual_seed(0)
    told = []
    for _ in range(steps):
        observation = torch.randint(3, (matches, 9), generator=generator, dtype=torch.uint8)
        legal = torch.rand(matches, 9, generator=generator) < 0.6
        legal[:, 4] = True
        seat = torch.randint(2, (matches,), generator=generator)
        if asked_at_once:
            told.append(agent.act(observation, legal, seat))
        else:
            rows = [torch.tensor([row]) for row in torch.randperm(matches, generator=generator.clone_state())]
            answers = {int(row): agent.act(observation[row], legal[row], seat[row], row) for row in rows}
            told.append(torch.cat([answers[row] for row in range(matches)]))
    return torch.stack(told)


def test_an_agent_asked_row_by_row_decides_as_when_asked_at_once():
    at_once = story(make_agent(deterministic=True, matches=6), asked_at_once=True)
    row_by_row = story(make_agent(deterministic=True, matches=6), asked_at_once=False)
    assert torch.equal(at_once, row_by_row)
    assert len(at_once.unique()) > 2  # and it does not always do the same


def test_an_agent_that_restarts_has_forgotten():
    """After a restart of match 0 the memories of match 0 are a newcomer's, those of match 1 are not."""
    old, newcomer = make_agent(deterministic=True, matches=2), make_agent(deterministic=True, matches=2)
    story(old, asked_at_once=True, matches=2)
    old.restart(torch.tensor([True, False]))
    seen = torch.zeros(2, 9, dtype=torch.uint8)
    old.act(seen, seat=[0, 0])
    newcomer.act(seen, seat=[0, 0])
    for part, fresh in zip(old.memory.cores, newcomer.memory.cores, strict=True):
        torch.testing.assert_close(part[:, 0], fresh[:, 0])
        assert not torch.allclose(part[:, 1], fresh[:, 1])
    assert torch.equal(old.memory.previous[0], newcomer.memory.previous[0])


def test_a_restart_is_remembered_until_that_match_is_asked():
    """Both matches end, match 0 is asked first: match 1 begins anew all the same when its turn comes."""
    agent, newcomer = make_agent(deterministic=True, matches=2), make_agent(deterministic=True, matches=2)
    story(agent, asked_at_once=True, matches=2)
    agent.restart(torch.tensor([True, True]))
    for row in (0, 1):
        agent.act(torch.zeros(1, 9, dtype=torch.uint8), seat=0, rows=torch.tensor([row]))
    newcomer.act(torch.zeros(2, 9, dtype=torch.uint8), seat=[0, 0])
    for part, fresh in zip(agent.memory.cores, newcomer.memory.cores, strict=True):
        torch.testing.assert_close(part, fresh)


def test_an_agent_carries_the_memory_that_its_policy_returns():
    """Cores and previous actions, as if one had handed them over from decision to decision oneself."""
    agent = make_agent(matches=3)
    memory, generator = agent.policy.initial_memory(3), torch.Generator().manual_seed(0)
    legal, start = torch.ones(3, 9, dtype=torch.bool), torch.zeros(3, dtype=torch.bool)
    for t in range(6):
        seen, seat = torch.full((3, 9), t % 3), torch.tensor([t % 2, 0, 1])
        decision, memory = agent.policy.act(seen, legal, seat, start, memory, generator)
        assert torch.equal(agent.act(seen, legal, seat), decision.action)
        assert torch.equal(agent.memory.previous, memory.previous)
        for mine, given in zip(agent.memory.cores, memory.cores, strict=True):
            torch.testing.assert_close(mine, given)


def test_an_agent_that_is_reset_has_forgotten_everything():
    agent = make_agent(deterministic=True, matches=6)
    first = story(agent, asked_at_once=True)
    agent.reset(6)
    assert torch.equal(story(agent, asked_at_once=True), first)


@pytest.mark.parametrize("make", [make_agent, lambda seed=0: RandomPlayer(TICTACTOE, seed=seed)])
def test_a_reseeded_player_draws_as_one_made_with_the_seed(make):
    one, two = make(), make(seed=7)
    for player in (one, two):
        player.reset(50)
    seen, seat = torch.zeros(50, 9, dtype=torch.uint8), torch.zeros(50)
    first = two.act(seen, seat=seat)
    assert not torch.equal(one.act(seen, seat=seat), first)
    one.reset(50)
    one.reseed(7)
    assert torch.equal(one.act(seen, seat=seat), first)


def test_an_agents_saved_state_resumes_it():
    one, two = make_agent(matches=6), make_agent(seed=9, matches=2)
    story(one, asked_at_once=True)
    two.load_state_dict(one.state_dict())
    assert torch.equal(story(one, asked_at_once=True), story(two, asked_at_once=True))


def test_one_observation_gives_one_action():
    match = envs.Match(TICTACTOE, seed=1)
    action = make_agent().act(match.observation(0), match.mask(), seat=0)
    assert isinstance(action, int)
    assert action in match.legal()


def test_without_a_mask_every_action_may_come():
    """And only legal ones with it: 200 draws on the empty board, then with 3 and 7 alone."""
    agent = make_agent(matches=200)
    seen, mask = torch.zeros(200, 9, dtype=torch.uint8), torch.zeros(200, 9, dtype=torch.bool)
    mask[:, [3, 7]] = True
    seat = torch.zeros(200)
    assert len(agent.act(seen, seat=seat).unique()) > 2
    assert set(agent.act(seen, mask, seat).tolist()) <= {3, 7}


# ---------------------------------------------------------------- agents of a game's world at the game


def make_world_agent(game, seat):
    """As `make_agent`, of the world in which the agent has this seat; it takes its most probable action."""
    torch.manual_seed(0)
    world = World(seated_space(game, seat), spaces.Discrete(game.actions))
    policy = RecurrentPolicy(world.observation_space, game.actions, 1, lstm_hidden_size=8, features_dim=8)
    with torch.no_grad():
        policy.action_head[-1].weight.mul_(100.0)
    return Agent(policy, world, "agent", deterministic=True)


@pytest.mark.parametrize("game", [TICTACTOE, KUHN], ids=str)
@pytest.mark.parametrize("seat", [0, 1, "alternate"])
def test_at_the_game_it_plays_what_it_plays_in_its_world(game, seat):
    """Eight matches, move by move, against one who plays the same in both."""
    world = FogboundEnv(game, opponent=lowest, seat=seat)
    agent, player = make_world_agent(game, seat), SeatedAgent(make_world_agent(game, seat), game)
    seats = set()
    for number in range(8):
        agent.reset()
        observation, info = world.reset(seed=number)
        over = False
        while not over:
            action = agent.act(observation, world.action_masks())
            observation, _, over, _, _ = world.step(action)
        match = envs.Match(game, world.match.seed)
        player.reset()
        while not match.over:
            who = player.act if match.seat == info["seat"] else lowest
            match.play(who(match.observation(match.seat), match.mask(), match.seat))
        assert match.actions == world.match.actions
        seats.add(info["seat"])
    assert seats == ({0, 1} if seat == "alternate" else {seat})


def test_it_remembers_each_seat_apart():
    """Against itself with one memory for both seats, and as two players: the same 6 matches at once."""

    def moves(players):
        batch = envs.Batch(TICTACTOE, 6, seed=2)
        for player in players:
            player.reset(6)
        told = []
        for _ in range(60):
            actions = torch.zeros(6, dtype=torch.int64)
            for number, player in enumerate(players):
                rows = torch.nonzero((batch.seat + torch.arange(6)) % len(players) == number)[:, 0]
                if len(rows) > 0:
                    actions[rows] = player.act(
                        batch.observation[rows], batch.legal[rows], batch.seat[rows], rows
                    )
            told.append(actions)
            batch.step(actions)
            for player in players:
                player.restart(batch.over)
        assert not batch.illegal.any()
        return torch.stack(told)

    def make():
        return SeatedAgent(make_world_agent(TICTACTOE, "alternate"), TICTACTOE)

    assert torch.equal(moves([make()]), moves([make(), make()]))


def test_a_seated_agent_goes_on_where_its_state_was_taken():
    one, two = (SeatedAgent(make_world_agent(TICTACTOE, 0), TICTACTOE) for _ in range(2))
    seen, seats = torch.zeros(4, 9, dtype=torch.uint8), torch.tensor([0, 1, 1, 0])
    one.reset(4)
    first = one.act(seen, seat=seats)
    two.load_state_dict(one.state_dict())
    assert two.matches == 4
    assert torch.equal(one.act(seen + 1, seat=seats), two.act(seen + 1, seat=seats))
    one.restart(torch.tensor([True, False, True, False]))
    assert torch.equal(one.act(seen, seat=seats)[[0, 2]], first[[0, 2]])


def test_an_agent_of_another_world_is_told_what_is_expected():
    agent = make_world_agent(KUHN, 0)
    with pytest.raises(
        ValueError, match=r"'agent' plays World\(.*Discrete\(2\)\), expected an agent of Phantom"
    ):
        SeatedAgent(agent, TICTACTOE)
    with pytest.raises(ValueError, match=r"'agent' plays Phantom.*, expected an agent of Phantom"):
        SeatedAgent(make_agent(), TICTACTOE)
