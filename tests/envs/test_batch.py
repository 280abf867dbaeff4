"""Many matches: the same in every batch size and on any number of threads, in place, and resumable."""

from __future__ import annotations

import dataclasses

import gymnasium
import numpy as np
import pytest
import torch
from listed import small
from toys import Hurry

import envs
from envs import Batch, Match, make
from envs import threads as own_threads
from envs.core import match_seed

OUTPUTS = ("observation", "legal", "seat", "reward", "over", "illegal")
PASS, BET = 0, 1


@pytest.fixture
def threads():
    """Sets torch's number of threads, which a Batch uses too, and puts it back."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def lots(steps, matches, actions, seed=0):
    """Random numbers [T, B, A] that decide the actions; those of a lane do not depend on the others."""
    return np.random.default_rng(seed).random((steps, matches, actions), np.float32)


def choose(batch, numbers):
    """The legal action with the highest number; where the first number is below 0.02 an illegal one."""
    numbers = torch.from_numpy(numbers)
    actions = torch.where(batch.legal, numbers, -1.0).argmax(1)
    return torch.where(numbers[:, 0] < 0.02, batch.game.actions, actions)


def story(batch, numbers):
    """Everything the batch shows over the steps, and its state at the end."""
    told = []
    for now in numbers:
        batch.step(choose(batch, now))
        told.append({name: getattr(batch, name).clone() for name in OUTPUTS})
    records = torch.from_numpy(batch.states.view(np.uint8).reshape(batch.matches, -1))
    return told, batch.state_dict() | {"records": records}


def assert_same_lanes(one, two, lanes):
    """The stories agree, byte for byte, on the first `lanes` lanes."""
    for here, there in zip(one[0], two[0], strict=True):
        for name in OUTPUTS:
            assert torch.equal(here[name][:lanes], there[name][:lanes]), name
    for name, saved in one[1].items():
        assert torch.equal(saved[:lanes], two[1][name][:lanes]), name


@pytest.mark.parametrize("name", envs.GAMES)
def test_every_batch_size_and_thread_count_plays_the_same(name, threads, monkeypatch):
    """5,000 matches on 1, 2 and 4 threads, and the first 1, 7 and 1,025 lanes alone."""
    game = small(name)
    numbers = lots(20, 5_000, game.actions)
    threads(1)
    alone = story(Batch(game, 5_000, seed=9), numbers)

    slices = []
    pool = own_threads._pool
    monkeypatch.setattr(own_threads, "_pool", lambda count: slices.append(count) or pool(count))
    for count in (2, 4):
        threads(count)
        assert_same_lanes(alone, story(Batch(game, 5_000, seed=9), numbers), 5_000)
        assert len(slices) == (count - 1) * 21  # the reset and 20 steps each woke count - 1 threads
        slices.clear()
    for matches in (1, 7, 1_025):
        assert_same_lanes(alone, story(Batch(game, matches, seed=9), numbers[:, :matches]), matches)


@pytest.mark.parametrize("name", envs.GAMES)
def test_a_lane_plays_what_a_match_plays(name):
    """Lane b's n-th match is `Match(seed=match_seed(seed, b, n))`, chance and all."""
    game, lanes, seed = small(name), 5, 2**64 - 3
    batch = Batch(game, lanes, seed=seed)
    episode = [0] * lanes
    matches = [Match(game, seed=int(match_seed(np.uint64(seed), b, 0))) for b in range(lanes)]
    for now in lots(max(60, game.max_length), lanes, game.actions, seed=1) + 0.03:  # legal ones only
        actions = choose(batch, now)
        batch.step(actions)
        for b in range(lanes):
            before = matches[b].returns.copy()
            matches[b].play(actions[b])
            assert batch.reward[b].tolist() == pytest.approx((matches[b].returns - before).tolist(), rel=1e-6)
            assert batch.over[b] == matches[b].over
            if matches[b].over:
                episode[b] += 1
                matches[b] = Match(game, seed=int(match_seed(np.uint64(seed), b, episode[b])))
            assert batch.seat[b] == matches[b].seat
            assert batch.legal[b].tolist() == matches[b].mask().tolist()
            assert batch.observation[b].tolist() == matches[b].observation(matches[b].seat).tolist()
    assert not batch.illegal.any()
    assert min(episode) > 0


def test_lanes_and_batch_seeds_differ():
    """1,000 lanes of Kuhn poker: the six deals are about equally frequent (167 +- 4 x 11.8 each), and
    two batch seeds deal alike in about one lane of six."""
    game = make("kuhn_poker")
    cards = [Batch(game, 1_000, seed=seed).states["card"] for seed in (0, 1)]
    _, counts = np.unique(cards[0], axis=0, return_counts=True)
    assert len(counts) == 6
    assert abs(counts - 1_000 / 6).max() < 4 * 11.8
    assert 100 < (cards[0] == cards[1]).all(1).sum() < 234


# ---------------------------------------------------------------- in place


def test_tensors_stay_where_they_are():
    """No step, reset or load moves a tensor, and the kernels write the very memory torch reads."""
    batch = Batch(make("leduc_poker"), 33)
    tensors = {name: getattr(batch, name) for name in OUTPUTS}
    addresses = {name: tensor.data_ptr() for name, tensor in tensors.items()}
    saved = batch.state_dict()
    numbers = lots(5, 33, 3)
    story(batch, numbers)
    batch.reset(4)
    batch.load_state_dict(saved)
    story(batch, numbers)
    assert {name: getattr(batch, name).data_ptr() for name in OUTPUTS} == addresses
    assert all(getattr(batch, name) is tensor for name, tensor in tensors.items())
    _, _, _, _, *views = batch._views
    assert [view.ctypes.data for view in views] == list(addresses.values())


def test_shapes_and_dtypes():
    batch = Batch(make("dark_hex", rows=4, cols=3), 6)
    found = {name: (getattr(batch, name).dtype, tuple(getattr(batch, name).shape)) for name in OUTPUTS}
    assert found == {
        "observation": (torch.uint8, (6, 12)),
        "legal": (torch.bool, (6, 12)),
        "seat": (torch.int64, (6,)),
        "reward": (torch.float32, (6, 2)),
        "over": (torch.bool, (6,)),
        "illegal": (torch.bool, (6,)),
    }


# ---------------------------------------------------------------- ends


def test_a_match_that_ends_is_replaced_in_the_same_step():
    """Kuhn poker: pass; then lane 0 passes (a showdown for 1), lane 1 bets (and waits for an answer)."""
    batch = Batch(make("kuhn_poker"), 2, seed=0)
    cards = batch.states["card"][0]
    batch.step(torch.tensor([PASS, PASS]))
    assert batch.over.tolist() == [False, False]
    batch.step(torch.tensor([PASS, BET]))
    assert batch.over.tolist() == [True, False]
    assert batch.reward.tolist() == [[1, -1] if cards[0] > cards[1] else [-1, 1], [0, 0]]
    assert batch.illegal.tolist() == [False, False]
    assert batch.observation[:, 1:].tolist() == [[0, 0, 0], [1, 2, 0]]  # lane 0: nothing moved yet
    assert batch.seat.tolist() == [0, 0]
    assert batch.observation[0, 0] > 0  # and it has its new card
    batch.step(torch.tensor([BET, BET]))
    assert batch.over.tolist() == [False, True]
    assert batch.reward[0].tolist() == [0, 0]  # the last step's, not the last match's


@pytest.mark.parametrize("action", [9, -1, 2**40, -(2**63)])
def test_an_illegal_action_loses(action):
    """Phantom tic-tac-toe: x at 4, o at 0, then lane 0's x names 4 again, lane 1's x is out of range,
    lane 2's x finds o at 0 (a legal collision): the offenders lose 1, their matches end."""
    game = make("phantom_tictactoe")
    batch = Batch(game, 3, seed=0)
    batch.step(torch.tensor([4, 4, 4]))
    batch.step(torch.tensor([0, 0, 0]))
    batch.step(torch.tensor([4, action, 0]))
    assert batch.illegal.tolist() == [True, True, False]
    assert batch.over.tolist() == [True, True, False]
    assert batch.reward.tolist() == [[-1, 1], [-1, 1], [0, 0]]
    assert batch.seat.tolist() == [0, 0, 0]
    assert batch.observation.tolist() == [[0] * 9, [0] * 9, [2, 0, 0, 0, 1, 0, 0, 0, 0]]
    assert batch.legal.sum(1).tolist() == [9, 9, 7]
    fresh = Match(game, seed=int(match_seed(np.uint64(0), 1, 1)))  # lane 1's second match
    assert batch.states[1].tobytes() == fresh.state.tobytes()


def test_the_second_seat_loses_by_an_illegal_action_too():
    """In Leduc poker the lowest return is -13, and the other seat gets what the offender loses."""
    batch = Batch(make("leduc_poker"), 1)
    batch.step(torch.tensor([1]))
    batch.step(torch.tensor([0]))  # seat 1 folds against a check
    assert batch.illegal.tolist() == [True]
    assert batch.reward.tolist() == [[13, -13]]


@pytest.mark.parametrize("way", ["all lanes", "some lanes", "loaded"])
def test_the_mask_shown_is_no_way_to_cheat(way):
    """An action is judged by the rules, whatever the caller has written into `legal`: x holds 4 and may name
    all but that."""
    batch = Batch(make("phantom_tictactoe"), 2)
    batch.keep_actions()
    only = torch.tensor([True, True]) if way == "some lanes" else None
    batch.step(torch.tensor([4, 4]), only)
    batch.step(torch.tensor([0, 0]), only)
    if way == "loaded":
        saved, batch = batch.state_dict(), Batch(make("phantom_tictactoe"), 2)
        batch.load_state_dict(saved)
    batch.legal[0], batch.legal[1] = True, False
    batch.step(torch.tensor([4, 8]), only)
    assert batch.illegal.tolist() == [True, False]
    assert batch.legal[1].tolist() == [False] + [True] * 8  # o's turn, who took 0 and knows of nothing else


# ---------------------------------------------------------------- some matches only


@pytest.mark.parametrize("name", envs.GAMES)
def test_lanes_that_wait_play_the_same_matches_later(name):
    """Each step plays in about half of 40 lanes. A lane's k-th turn is that of a batch in which nobody
    waits; a lane that waits shows what it showed and earns nothing."""
    game, lanes = small(name), 40
    numbers = lots(30, lanes, game.actions)
    told, _ = story(Batch(game, lanes, seed=4), numbers)
    random = np.random.default_rng(2)
    batch, turn = Batch(game, lanes, seed=4), np.zeros(lanes, np.int64)
    while turn.max() < 30:
        only = torch.from_numpy(random.random(lanes) < 0.5)
        before = {output: getattr(batch, output).clone() for output in OUTPUTS}
        actions = choose(batch, numbers[turn, np.arange(lanes)])
        batch.step(torch.where(only, actions, -7), only)
        for b in range(lanes):
            for output in OUTPUTS:
                now = getattr(batch, output)[b]
                if only[b]:
                    assert torch.equal(now, told[turn[b]][output][b]), output
                elif output in ("observation", "legal", "seat"):
                    assert torch.equal(now, before[output][b]), output
                else:
                    assert not now.any(), output
        turn += only.numpy()


@pytest.mark.parametrize("name", envs.GAMES)
def test_what_every_seat_saw_at_the_end(name):
    """`final` is what `Match` shows each seat after the last move; it stays until the next end."""
    game, lanes, seed = small(name), 5, 8
    batch = Batch(game, lanes, seed=seed)
    assert batch.final is None
    final = batch.keep_final()
    assert not final.any()
    episode = [0] * lanes
    matches = [Match(game, seed=int(match_seed(np.uint64(seed), b, 0))) for b in range(lanes)]
    expected = final.clone()
    for now in lots(max(60, game.max_length), lanes, game.actions, seed=1) + 0.03:  # legal ones only
        actions = choose(batch, now)
        batch.step(actions)
        for b in range(lanes):
            matches[b].play(actions[b])
            if matches[b].over:
                for p in range(game.seats):
                    expected[b, p] = torch.from_numpy(matches[b].observation(p))
                episode[b] += 1
                matches[b] = Match(game, seed=int(match_seed(np.uint64(seed), b, episode[b])))
        assert torch.equal(final, expected)
    assert final.any()
    assert batch.keep_final() is batch.final is final
    batch.reset()
    assert not final.any()


def test_keeping_the_final_observations_changes_nothing_else():
    game = make("leduc_poker")
    numbers = lots(40, 9, game.actions)
    keeping = Batch(game, 9, seed=3)
    keeping.keep_final()
    assert_same_lanes(story(Batch(game, 9, seed=3), numbers), story(keeping, numbers), 9)


# ---------------------------------------------------------------- seeds and saved states


@pytest.mark.parametrize("name", envs.GAMES)
def test_reset(name):
    """`reset(seed)` is a new Batch with that seed; `reset()` begins the same one anew."""
    game = small(name)
    numbers = lots(12, 9, game.actions)
    batch = Batch(game, 9, seed=1)
    first = story(batch, numbers)
    batch.reset()
    assert not batch.over.any()
    assert not batch.reward.any()
    assert_same_lanes(first, story(batch, numbers), 9)
    batch.reset(2)
    assert_same_lanes(story(Batch(game, 9, seed=2), numbers), story(batch, numbers), 9)


@pytest.mark.parametrize("name", envs.GAMES)
def test_a_saved_batch_goes_on_exactly(name):
    game = small(name)
    numbers = lots(40, 9, game.actions)
    batch = Batch(game, 9, seed=2**63 + 5)
    batch.keep_actions()
    story(batch, numbers[:15])
    saved = batch.state_dict()
    kept = {key: value.clone() for key, value in saved.items()}
    shown = {key: getattr(batch, key).clone() for key in OUTPUTS}
    went_on = story(batch, numbers[15:])
    assert all(torch.equal(saved[key], kept[key]) for key in kept)  # the batch played on, the save did not

    other = Batch(game, 9, seed=0)
    other.load_state_dict(saved)
    for key in OUTPUTS:
        assert torch.equal(getattr(other, key), shown[key])
    assert_same_lanes(went_on, story(other, numbers[15:]), 9)


# ---------------------------------------------------------------- refusals


def test_what_step_refuses():
    batch = Batch(make("kuhn_poker"), 3)
    before = batch.state_dict()
    for wrong in (torch.zeros(3), torch.zeros(3, dtype=torch.bool), [0.0, 1.0, 0.0], torch.zeros(3) + 0j):
        with pytest.raises(TypeError, match="actions must have an integer dtype, got torch"):
            batch.step(wrong)
    for shape in ((2,), (4,), (3, 1), (1,), ()):
        with pytest.raises(ValueError, match=r"actions must have shape \(3,\), got "):
            batch.step(torch.zeros(shape, dtype=torch.int64))
    for wrong in (torch.ones(3), torch.ones(2, dtype=torch.bool), [True, False]):
        with pytest.raises(ValueError, match=r"only must be bool of shape \(3,\), got torch"):
            batch.step(torch.zeros(3, dtype=torch.int64), wrong)
    after = batch.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    for dtype in (torch.uint8, torch.int16, torch.int32):
        batch.step(torch.zeros(3, dtype=dtype))


@dataclasses.dataclass(frozen=True)
class Told(Hurry):
    """A game whose observations are no numbers."""

    observation_space = gymnasium.spaces.Tuple([gymnasium.spaces.Discrete(2)])


def test_what_is_no_game_for_a_batch():
    with pytest.raises(TypeError, match="makes it, got 'kuhn_poker'"):
        Batch("kuhn_poker", 2)
    told = r"hurry: the observation space Tuple\(.*\) is not supported; known are MultiDiscrete, Box"
    with pytest.raises(ValueError, match=told):
        Batch(Told(), 2)


def test_what_batch_refuses():
    game = make("kuhn_poker")
    for matches in (0, -4):
        with pytest.raises(ValueError, match=f"matches must be at least 1, got {matches}"):
            Batch(game, matches)
    with pytest.raises(TypeError):
        Batch(game, 2.5)
    for device in ("mps", "meta"):
        with pytest.raises(ValueError, match=f"device must be cpu or cuda, got {device}"):
            Batch(game, 2, device=device)
    with pytest.raises((ValueError, RuntimeError), match="device"):  # torch itself knows no such device
        Batch(game, 2, device="tpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_cuda_without_a_gpu_is_refused(device):
    with pytest.raises(ValueError, match="torch finds no CUDA device; use device='cpu'"):
        Batch(make("kuhn_poker"), 2, device=device)


def played(name="leduc_poker", steps=5):
    """The state of a batch of 4 after 5 steps; in Leduc poker every match can then still be going on."""
    batch = Batch(make(name), 4, seed=3)
    batch.keep_actions()
    for _ in range(steps):
        batch.step(batch.legal.int().argmax(1))
    return batch.state_dict()


def test_a_saved_batch_is_told_by_its_actions():
    """Kuhn poker, pass and pass again: matches 1 and 2 end, each with two decisions; one is begun."""
    saved = played("kuhn_poker", 5)
    assert saved["episode"].tolist() == [3] * 4
    assert saved["length"].tolist() == [1] * 4
    assert saved["actions"].tolist() == [[PASS]] * 4
    assert bytes(saved["game"].tolist()) == b"KuhnPoker()"
    assert set(saved) == {"game", "seed", "episode", "length", "actions", "reward", "over", "illegal"}


def test_loading_asks_for_no_final_observations():
    batch = Batch(make("kuhn_poker"), 4)
    batch.load_state_dict(played("kuhn_poker", 5))
    assert batch.final is None


def test_matches_that_nobody_wrote_down_cannot_be_loaded_until_they_have_ended():
    """Kuhn poker: the first decision was not written down, the match that begins after it is."""
    batch, other = Batch(make("kuhn_poker"), 2, seed=1), Batch(make("kuhn_poker"), 2)
    batch.step(torch.tensor([PASS, PASS]))
    batch.keep_actions()
    assert batch.state_dict()["length"].tolist() == [-1, -1]
    with pytest.raises(ValueError, match="begun before keep_actions was asked for"):
        other.load_state_dict(batch.state_dict())
    batch.step(torch.tensor([PASS, PASS]))
    batch.step(torch.tensor([BET, PASS]))
    other.load_state_dict(batch.state_dict())
    assert torch.equal(other.observation, batch.observation)
    batch = Batch(make("kuhn_poker"), 2)
    batch.step(torch.tensor([PASS, PASS]))
    batch.reset()
    other.load_state_dict(batch.state_dict())  # nothing to write down yet


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"actions": 9}, r"action 9, decision 1 of \d in lane 0, is illegal"),
        ({"actions": -1}, "is illegal"),
        ({"actions": 2**31 - 1}, "is illegal"),
        ({"length": 9}, "lengths up to 9"),
        ({"length": -2}, "begun before keep_actions was asked for"),
        ({"length": 2**62}, "lengths up to"),
        ({"episode": 0}, "counters 0"),
        ({"episode": -(2**63)}, "counters -9"),
        ({"episode": 2**63 - 1}, "counters"),
        ({"reward": torch.nan}, "reward holds numbers that are not finite"),
        (
            {"actions": torch.zeros(4, 9, dtype=torch.int32)},
            r"actions is torch.int32 \(4, 9\), expected .*8\)",
        ),
        ({"actions": torch.zeros(4, 2)}, "actions is torch.float32"),
        ({"actions": torch.zeros(4, dtype=torch.int32)}, r"actions is torch.int32 \(4,\)"),
        ({"length": torch.zeros(4)}, "length is torch.float32"),
        ({"seed": torch.zeros(2, dtype=torch.int64)}, r"seed is torch.int64 \(2,\)"),
        ({"game": torch.zeros(4)}, "does not fit LeducPoker"),
    ],
)
def test_a_state_that_the_rules_do_not_lead_to_is_refused(changed, message):
    """Each of the numbers may come from anywhere; the batch stays as it was."""
    batch, saved = Batch(make("leduc_poker"), 4), played()
    assert saved["length"].min() > 0
    before, records = batch.state_dict(), batch.states
    for name, value in changed.items():
        saved[name] = value if isinstance(value, torch.Tensor) else torch.full_like(saved[name], value)
    with pytest.raises(ValueError, match=message):
        batch.load_state_dict(saved)
    assert all(torch.equal(x, before[name]) for name, x in batch.state_dict().items())
    assert records.tobytes() == batch.states.tobytes()


def test_a_match_that_would_be_over_is_refused():
    """Kuhn poker: pass, pass ends it; a file that says it goes on is none of this game."""
    saved = played("kuhn_poker", 1)
    saved |= {"length": saved["length"] + 1, "actions": torch.zeros(4, 2, dtype=torch.int32)}
    with pytest.raises(ValueError, match="action 0, decision 2 of 2 in lane 0, ends the match"):
        Batch(make("kuhn_poker"), 4).load_state_dict(saved)


def test_what_load_state_dict_refuses():
    batch = Batch(make("leduc_poker"), 4)
    before = batch.state_dict()
    with pytest.raises(ValueError, match="the saved batch does not fit LeducPoker"):
        batch.load_state_dict(Batch(make("kuhn_poker"), 4).state_dict())
    with pytest.raises(ValueError, match=r"episode is torch\.int64 \(5,\), expected .*\(4,\)"):
        batch.load_state_dict(Batch(make("leduc_poker"), 5).state_dict())
    with pytest.raises(ValueError, match=r"the saved batch lacks \['actions', 'seed'\]"):
        batch.load_state_dict({k: v for k, v in before.items() if k not in ("actions", "seed")})
    after = batch.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
