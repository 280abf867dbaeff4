"""Matches of a game as `Lanes`; Gymnasium's worlds are those of `learn.worlds`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from agents.net.task import GameTask, Lanes
from envs import Batch
from envs.core import seed_from_lane
from envs.seeds import derived_seed


class MatchLanes:
    """The matches of a `Batch`, whose actions are kept from now on, so that they can be saved.

    Args:
        batch: the matches.
        first: the number of the first of them among all of a run, where others play the rest.
    """

    truncated = None
    final = None
    tells_episodes = False

    def __init__(self, batch: Batch, first: int = 0) -> None:
        self.batch, self.first = batch, first
        self.task = GameTask(batch.game)
        self.matches, self.device = batch.matches, batch.device
        self.observation, self.legal, self.seat = batch.observation, batch.legal, batch.seat
        self.reward, self.over, self.illegal = batch.reward, batch.over, batch.illegal
        self.own_seed = batch.seed - 2**64 if batch.seed >= 2**63 else batch.seed
        batch.keep_actions()

    def step(self, actions: Tensor) -> None:
        """Play actions [B]."""
        self.batch.step(actions)

    def deal(self, seed: int | None, number: int) -> None:
        """See `Lanes`."""
        deals = None if seed is None else derived_seed(seed, "training", number)
        self.batch.reset(deals if deals is None or self.first == 0 else seed_from_lane(deals, self.first))

    def told(self, record: Mapping[str, Tensor], t: int, seconds: float) -> dict[str, Any]:
        """See `Lanes`: a reward is that of the seat that decided, an info names it.

        All of it is the reader's: the record is written again by a later rollout.
        """
        r = record
        seat, over = r["seat"][t], r["over"][t].cpu().numpy().copy()
        infos: list[dict[str, Any]] = [{"seat": p, "TimeLimit.truncated": False} for p in seat.cpu().tolist()]
        if over.any():
            earned, length, illegal = (r[name][t].cpu().tolist() for name in ("earned", "length", "illegal"))
            for b in np.flatnonzero(over):
                episode = {"r": round(earned[b][0], 6), "l": length[b], "t": round(seconds, 6)}
                infos[b] |= {"returns": earned[b], "illegal": illegal[b], "episode": episode}
        return {
            "new_obs": self.observation.cpu().numpy().copy(),
            "rewards": r["reward"][t].gather(1, seat[:, None])[:, 0].cpu().numpy(),
            "dones": over,
            "infos": infos,
            "actions": r["action"][t].cpu().numpy().copy(),
            "n_steps": t,
        }

    def state_dict(self) -> dict[str, Tensor]:
        """See `Batch.state_dict`."""
        return self.batch.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """See `Batch.load_state_dict`."""
        self.batch.load_state_dict(state)


def lanes_of(played: Batch | Lanes) -> Lanes:
    """The lanes that somebody names by a `Batch`; the only place that asks whether it is one."""
    return MatchLanes(played) if isinstance(played, Batch) else played
