"""Records that are written in turns, steps that wait for nothing, and steps as a CUDA graph.

pytest tests/agents/learn/test_record.py --device cuda
"""

from __future__ import annotations

import contextlib
import dataclasses

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import envs
from agents import MaskableRecurrentPPO, Opposition
from agents.learn import record
from agents.learn import rollout as rollout_file
from agents.learn.record import StepGraph
from agents.learn.rollout import Collector
from agents.net import hand
from agents.net import scan as scanning
from agents.net.kernels import choice, heads, slots
from agents.net.playing import Playing
from agents.net.policy import RecurrentPolicy
from agents.play.players import RandomPlayer

GAME = envs.make("phantom_tictactoe")
B = 12
OPPOSITE = ("nobody", "past selves", "random and past selves")


def make_policy(seed, device="cpu"):
    """Its width is one that is computed by hand with AVX-512, too."""
    torch.manual_seed(seed)
    return RecurrentPolicy(
        GAME.observation_space, GAME.actions, GAME.seats, lstm_hidden_size=32, features_dim=8
    ).to(device)


def made(opposite, device="cpu", cuda_graph=False):
    """A policy, and its collector with or without others opposite, who are told by masks on any device."""
    policy, opposition = make_policy(0, device), None
    if opposite != "nobody":
        fixed = [RandomPlayer(GAME)] if "random" in opposite else []
        opposition = Opposition(GAME, B, 0.75, fixed, pool_size=2)
        opposition.by_masks = True
        for k in (1, 2, 3):
            opposition.add(make_policy(k, device), f"past self {k}")
        opposition.restart(torch.ones(B, dtype=torch.bool))
    batch = envs.Batch(GAME, B, device, seed=5)
    return policy, Collector(batch, policy, opposition, cuda_graph)


def generator_on(device):
    return torch.Generator(device).manual_seed(7)


def tensors(rollout):
    told = {f.name: getattr(rollout, f.name) for f in dataclasses.fields(rollout)}
    before, memory = told.pop("before"), told.pop("memory")
    told |= {f"core {k}": part for k, part in enumerate(memory.cores)} | {"previous before": memory.previous}
    if before is not None:
        told |= {f"before.{name}": x for name, x in tensors(before).items()}
    return told


def copies(rollout):
    return {name: x.clone() for name, x in tensors(rollout).items()}


def assert_same(told, expected):
    assert told.keys() == expected.keys()
    for name, x in expected.items():
        torch.testing.assert_close(told[name], x, rtol=0, atol=0, equal_nan=True, msg=name)


# ---------------------------------------------------------------- written in turns


def test_the_latest_rollout_stays_while_the_next_is_made():
    """Two pieces of memory in turns; a rollout that somebody has is never written over."""
    policy, collector = made("nobody")
    generator = generator_on("cpu")
    kept = [collector.collect(policy, 5, generator) for _ in range(4)]
    assert len({rollout.reward.data_ptr() for rollout in kept}) == 4
    before = [copies(rollout) for rollout in kept]
    latest = None
    places = set()
    for _ in range(4):
        seen = None if latest is None else copies(latest)
        following = collector.collect(policy, 5, generator)
        if latest is not None:
            assert_same(tensors(latest), seen)
        latest = following
        places.add(latest.reward.data_ptr())
    assert len(places) == 2  # from here on nothing is allocated
    for rollout, told in zip(kept, before, strict=True):
        assert_same(tensors(rollout), told)


def test_what_was_carried_over_stays_when_its_memory_is_written_again():
    policy, collector = made("nobody")
    generator = generator_on("cpu")
    collector.collect(policy, 5, generator)
    second = collector.collect(policy, 5, generator)
    carried = copies(second.before)
    collector.collect(policy, 5, generator)  # where the first stood
    assert_same(tensors(second.before), carried)


def test_another_length_or_a_magnet_gets_other_memory():
    policy, collector = made("nobody")
    assert collector.collect(policy, 5).shape == (5, B)
    assert collector.collect(policy, 3).shape == (3, B)
    assert collector.collect(policy, 3, magnet=policy).magnet.shape == (3, B, GAME.actions)


@pytest.mark.parametrize("opposite", OPPOSITE)
def test_who_makes_the_decisions_changes_nothing(opposite, monkeypatch):
    """By hand, by hand prepared anew for each rollout, by the policy: the same bits, and the same states."""
    told = []
    for many, is_by_hand in ((1000, True), (1, True), (1, False)):
        monkeypatch.setattr(rollout_file, "MANY", many)
        policy, collector = made(opposite)
        generator = generator_on("cpu")
        with monkeypatch.context() as patch:
            if not is_by_hand:
                patch.setattr(Playing, "of", lambda *_: None)
            played = [copies(collector.collect(policy, 6, generator)) for _ in range(4)]
        assert (collector._playing is not None) == (many > B)
        told.append([*played, collector.state_dict()])
    for other in told[1:]:
        for one, same in zip(other, told[0], strict=True):
            assert_same(one, same)


# ---------------------------------------------------------------- waiting for nothing


class WaitingError(AssertionError):
    """Something was asked of the device's numbers."""


class Refusal(TorchDispatchMode):
    """Refuses what waits for a GPU: to read a number, or to count what a mask marks."""

    WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "is_nonzero", "equal", "item")

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        indices = args[1] if name in ("index", "index_put", "index_put_") else []
        if name.startswith(self.WAITS) or any(x is not None and x.dtype == torch.bool for x in indices):
            raise WaitingError(name)
        return function(*args, **(kwargs or {}))


@contextlib.contextmanager
def nothing_waits(monkeypatch):
    """On the CPU: neither a tensor's numbers nor a copy to the CPU is asked for, but by the matches, whose
    own step is another on a GPU."""
    is_playing = []

    def refuse(name):
        real = getattr(torch.Tensor, name)

        def asked(self, *given, **named):
            if not is_playing:
                raise WaitingError(name)
            return real(self, *given, **named)

        patch.setattr(torch.Tensor, name, asked)

    step = envs.Batch.step

    def play(self, actions, only=None):
        is_playing.append(True)
        with torch.utils._python_dispatch._disable_current_modes():
            step(self, actions, only)
        is_playing.pop()

    with monkeypatch.context() as patch:
        patch.setattr(envs.Batch, "step", play)
        patch.setattr(scanning, "KERNELS", scanning.KERNELS[-1:])
        patch.setattr(record, "_array", lambda x: x)
        for module in (choice, hand, heads, slots):  # what the CPU has compiled
            patch.setattr(module, "is_readable", lambda _: False)
        for name in ("cpu", "item", "tolist", "numpy", "__bool__", "__int__", "__float__", "__index__"):
            refuse(name)
        with Refusal():
            yield


@pytest.mark.parametrize("opposite", OPPOSITE)
def test_no_step_waits_for_the_device(opposite, monkeypatch):
    """Matches end, seats change and opponents are drawn in these 40 steps."""
    policy, collector = made(opposite)
    generator = generator_on("cpu")
    with nothing_waits(monkeypatch):
        rollout = collector.collect(policy, 40, generator)
    assert rollout.over.sum() > B
    assert rollout.is_own.all() == (opposite == "nobody")


def test_a_bot_opposite_is_waited_for(monkeypatch):
    """The proof can fail: it decides on the CPU, and `decides_on` says so."""
    policy, collector = made("nobody")
    opposition = Opposition(GAME, B, 1.0, [envs_bot()])
    opposition.by_masks = True
    collector.opposition = opposition
    assert not opposition.decides_on(torch.device("cpu"))
    with pytest.raises(WaitingError), nothing_waits(monkeypatch):
        collector.collect(policy, 2)


def envs_bot():
    from agents import fixed_player

    return fixed_player("bot", GAME)


@pytest.mark.parametrize("opposite", OPPOSITE)
def test_on_a_gpu_no_step_waits(opposite, gpu):
    policy, collector = made(opposite, gpu)
    generator = generator_on(gpu)
    collector.collect(policy, 3, generator)  # compiles
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        rollout = collector.collect(policy, 40, generator)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert rollout.over.sum() > B


# ---------------------------------------------------------------- opponents by masks


def test_by_masks_the_same_rules_hold():
    """Who has an opponent, whose seat is whose, an opponent stays for the match: as without masks."""
    policy, collector = made("random and past selves")
    opposition = collector.opposition
    rollout = collector.collect(policy, 60, generator_on("cpu"))
    has_opponent = torch.arange(B) < 9
    assert ((~rollout.is_own).any(0) == has_opponent).all()
    assert rollout.legal.gather(2, rollout.action[..., None]).all()
    for lane in range(9):
        ends = torch.nonzero(rollout.over[:, lane])[:, 0].tolist()
        first = 0
        for k, end in enumerate(ends):
            steps = slice(first, end + 1)
            own = rollout.seat[steps, lane][rollout.is_own[steps, lane]].unique().tolist()
            theirs = rollout.seat[steps, lane][~rollout.is_own[steps, lane]].unique().tolist()
            assert own in ([], [(lane + k + 1) % 2])  # `made` drew once before
            assert theirs in ([], [(lane + k) % 2])
            first = end + 1
    assert set(opposition.opponent[:9].tolist()) <= {0, *opposition.pool}
    assert (opposition.opponent[9:] == -1).all()
    assert set(opposition.players) <= {0, 1, 2, 3}


def test_a_past_self_by_masks_plays_and_remembers_what_it_does_by_rows():
    """Deterministic, so that no draw tells them apart: the same actions, memories and beginnings."""
    policies = make_policy(0), make_policy(1)

    def played(by_masks):
        opposition = Opposition(GAME, B, 1.0, pool_size=1)
        opposition.add(policies[1], "past self")
        opposition.players[0].deterministic = True
        opposition.restart(torch.ones(B, dtype=torch.bool))
        opposition.by_masks = by_masks
        collector = Collector(envs.Batch(GAME, B, seed=5), policies[0], opposition)
        rollout = collector.collect(policies[0], 30, generator_on("cpu"))
        return tensors(rollout), opposition.players[0].state_dict()

    (one, mine), (two, theirs) = played(True), played(False)
    assert (one["action"] == two["action"]).all()
    assert_same(
        {n: one[n] for n in ("reward", "over", "is_own")}, {n: two[n] for n in ("reward", "over", "is_own")}
    )
    for name in ("core.0", "core.1", "previous", "start"):
        torch.testing.assert_close(mine[name], theirs[name], rtol=0, atol=1e-5)


# ---------------------------------------------------------------- as a graph


class Fake:
    """Stands for a captured graph: its replay makes the step."""

    def __init__(self, step):
        self.replay = step


@pytest.fixture
def graphs(monkeypatch):
    """Graphs can be had on the CPU; which were captured."""
    captured = []

    def capture(self):
        captured.append(self)
        return Fake(self.step)

    monkeypatch.setattr(StepGraph, "_capture", capture)
    monkeypatch.setattr(Collector, "_captures", lambda self: self.cuda_graph)
    return captured


@pytest.mark.parametrize("opposite", OPPOSITE)
def test_with_a_graph_the_same_is_recorded(opposite, graphs):
    """Eagerly and by a (pretended) graph, with a magnet: four rollouts, a snapshot after the second. The
    graph is captured once for a rollout's place and players, and nothing in it moves."""
    told = {}
    for cuda_graph in (False, True):
        policy, collector = made(opposite, cuda_graph=cuda_graph)
        magnet, generator = make_policy(9), generator_on("cpu")
        told[cuda_graph] = []
        for k in range(4):
            rollout = collector.collect(policy, 6, generator, magnet)
            told[cuda_graph].append(copies(rollout))
            if k == 1 and collector.opposition is not None:
                collector.opposition.add(make_policy(4), "past self 4")
    for graph, eager in zip(told[True], told[False], strict=True):
        assert_same(graph, eager)
    assert len(graphs) == (1 if opposite == "nobody" else 2)
    assert graphs[0].made > 6


def test_a_saved_state_goes_on_under_a_graph(graphs):  # noqa: ARG001
    policy, collector = made("nobody", cuda_graph=True)
    generator = generator_on("cpu")
    collector.collect(policy, 6, generator)
    state, matches, drawn = collector.state_dict(), collector.lanes.state_dict(), generator.get_state()
    expected = copies(collector.collect(policy, 6, generator))
    other = made("nobody", cuda_graph=True)[1]
    other.collect(policy, 6, generator_on("cpu"))
    other.lanes.load_state_dict(matches)
    other.load_state_dict(state, policy)
    generator.set_state(drawn)
    assert_same(copies(other.collect(policy, 6, generator)), expected)


def test_where_no_graph_can_be_it_is_said_once():
    policy, collector = made("nobody", cuda_graph=True)
    with pytest.warns(
        RuntimeWarning, match="the matches lie on cpu: steps are launched one kernel at a time"
    ):
        collector.collect(policy, 3)
    assert collector.collect(policy, 3).shape == (3, B)


def test_what_cannot_be_captured_goes_on_as_it_is(monkeypatch):
    def capture(_self):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(StepGraph, "_capture", capture)
    made_steps = []
    step = StepGraph(lambda: made_steps.append(1), [], ())
    for _ in range(record.WARM_UP):
        step()
    with pytest.warns(
        RuntimeWarning, match="a step cannot be captured .RuntimeError: operation not permitted"
    ):
        step()
    step()
    assert len(made_steps) == record.WARM_UP + 2


def test_the_algorithm_hands_it_on():
    model = MaskableRecurrentPPO(
        "MlpLstmPolicy", envs.Batch(GAME, 4), n_steps=8, batch_size=32, seed=0, cuda_graph=True
    )
    with pytest.warns(RuntimeWarning, match="the matches lie on cpu"):
        model.learn(32)
    with pytest.raises(ValueError, match="cuda_graph must be True or False, got 1"):
        MaskableRecurrentPPO("MlpLstmPolicy", envs.Batch(GAME, 4), n_steps=8, batch_size=32, cuda_graph=1)


@pytest.mark.parametrize("opposite", OPPOSITE)
def test_on_a_gpu_a_graph_records_what_single_launches_do(opposite, gpu):
    told = {}
    for cuda_graph in (False, True):
        policy, collector = made(opposite, gpu, cuda_graph)
        generator = generator_on(gpu)
        told[cuda_graph] = [copies(collector.collect(policy, 16, generator)) for _ in range(3)]
    assert collector._graph.graph is not None
    for graph, eager in zip(told[True], told[False], strict=True):
        assert_same(graph, eager)


# ---------------------------------------------------------------- one device


def test_a_policy_and_matches_must_be_on_one_device():
    policy = make_policy(0)
    policy.no_action = policy.no_action.to("meta")
    with pytest.raises(ValueError, match="the policy computes on meta, the matches lie on cpu; both must be"):
        Collector(envs.Batch(GAME, 4), policy)


@pytest.mark.parametrize(("model_on", "matches_on"), [("cuda", "cpu"), ("cpu", "cuda")])
def test_a_model_and_matches_on_two_devices_are_refused(model_on, matches_on, gpu):  # noqa: ARG001
    batch = envs.Batch(GAME, 4, matches_on)
    with pytest.raises(ValueError, match=f"computes on {model_on}.*, the matches lie on {matches_on}"):
        MaskableRecurrentPPO("MlpLstmPolicy", batch, n_steps=8, batch_size=32, device=model_on)
