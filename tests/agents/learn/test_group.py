"""The group: who owns what, one process alone, who began with whom. Two that talk: `run/test_scale.py`."""

from __future__ import annotations

import threading

import pytest
import torch
import torch.distributed as dist

from agents.learn import group
from agents.learn.group import ALONE, Group, LostError, joined, launch


def test_shards_are_dealt_out_in_turns():
    assert [[*Group(rank, 3).owned(4)] for rank in range(3)] == [[0, 3], [1], [2]]
    assert [*ALONE.owned(4)] == [0, 1, 2, 3]


def test_alone_one_hears_oneself():
    mine = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert ALONE.rows(mine, 2) is mine
    assert ALONE.total(mine) is mine
    assert ALONE.tell({"seed": 3}) == {"seed": 3}
    assert (ALONE.send(b"told"), ALONE.collect(b"told")) == (b"told", [b"told"])
    assert (ALONE.first(None), ALONE.first(15)) == (None, (0, 15))
    ALONE.wait()


def test_without_torchrun_one_is_alone(monkeypatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    with joined() as them:
        assert them is ALONE
        assert not them.is_launched
    assert launch() is None
    with pytest.raises(ValueError, match="as it is"), joined():
        raise ValueError("as it is")


def test_a_start_of_torchrun_has_a_name(monkeypatch):
    """Its own, or that of the process that keeps it, which counts only for processes started again."""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "night")
    assert launch() == ("night", True)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    assert not launch().may_go_on
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert launch().may_go_on


def test_the_first_error_is_told_and_the_others_are_silent():
    store = dist.HashStore()
    first, second = (Group(rank, 2, store) for rank in (1, 0))
    assert first.cause(ValueError("mine")).args == ("mine",)
    with pytest.raises(RuntimeError, match=r"^rank 1 of 2: no memory$"):
        first.leave(MemoryError("no memory"))
    with pytest.raises(SystemExit) as silent:
        second.leave(LostError("another process is gone"))
    assert silent.value.code == 1
    assert str(second.cause(LostError("gone"))) == "rank 1 of 2: no memory"


def test_a_mistake_of_ours_keeps_its_trace():
    with pytest.raises(AssertionError) as caught:
        Group(0, 2, dist.HashStore()).leave(AssertionError("never"))
    assert caught.value.__notes__ == ["rank 0 of 2: never"]


def test_what_was_left_in_a_store_is_not_heard_again(monkeypatch):
    """Two start twice with one store, as torchrun does after a kill."""
    store = dist.HashStore()

    def begin():
        rooms = {}
        both = [
            threading.Thread(
                target=lambda rank=rank: rooms.update({rank: group._of_this_start(store, rank, 2)})
            )
            for rank in (1, 0)
        ]
        for one in both:
            one.start()
        for one in both:
            one.join(60)
        return rooms

    before = begin()
    before[0].set("failure", "rank 1 of 2: killed")
    assert before[1].get("failure") == b"rank 1 of 2: killed"
    again = begin()
    assert not again[0].check(["failure"])
    again[1].set("failure", "another")
    assert again[0].get("failure") == b"another"

    monkeypatch.setattr(group, "BEGINNING", group.datetime.timedelta(seconds=0.2))
    with pytest.raises(LostError, match="of 3 processes some did not come"):
        group._of_this_start(dist.HashStore(), 0, 3)
