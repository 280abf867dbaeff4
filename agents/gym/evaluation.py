"""SB3's evaluation for policies with memory, masks *and* seats (edge).

SB3's own `evaluate_policy` and `EvalCallback` carry the memory but know no masks; sb3-contrib's maskable
ones (2.9) pass masks but drop the state that `predict` returns. These two do both, with SB3's arguments, and
tell a policy of several seats where it sits.
"""

from __future__ import annotations

from typing import Any

import gymnasium
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3.common import evaluation
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from agents.learn.algorithm import MaskableRecurrentPPO
from agents.net.observations import check_before_casts
from agents.net.task import Task


class Told:
    """A model whose `predict` asks `env` for the masks and the seats of the moment; all else is the model's.

    A policy of a game's seats is told which one decides. The world that lets the agent change seats
    (seat="alternate") ends its observations with the seat, which such a policy never saw: there it is taken
    off and told beside.
    """

    def __init__(self, model: MaskableRecurrentPPO, env: VecEnv) -> None:
        self.model, self.env = model, env
        check_before_casts(env)
        self.has_masks = is_masking_supported(env)
        task: Task | None = getattr(model, "task", None)
        self.has_seats = task is not None and task.seats > 1
        self.knows_seats = self.has_seats and env.has_attr("seat")
        self.ends_with_seat = task is not None and self.knows_seats and env.observation_space == task.seated

    def predict(self, observation: Any, **arguments: Any) -> Any:
        """The model's `predict` under the masks and in the seats of the moment.

        Raises:
            ValueError: the policy has several seats, and `env` does not say which one decides.
        """
        masks = get_action_masks(self.env) if self.has_masks else None
        if self.has_seats:
            arguments["seat"] = self.env.get_attr("seat") if self.knows_seats else None
        seen = observation[:, :-1] if self.ends_with_seat else observation
        return self.model.predict(seen, action_masks=masks, **arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)


def evaluate_policy(
    model: MaskableRecurrentPPO, env: gymnasium.Env[Any, Any] | VecEnv, *arguments: Any, **named: Any
) -> Any:
    """SB3's `evaluate_policy`, same arguments and results, with the masks and the seats of `env`."""
    worlds = env if isinstance(env, VecEnv) else DummyVecEnv([lambda: env])
    return evaluation.evaluate_policy(Told(model, worlds), worlds, *arguments, **named)  # type: ignore[arg-type]


class MaskableEvalCallback(EvalCallback):
    """SB3's `EvalCallback`, same arguments, with the masks and the seats of its env."""

    def _on_step(self) -> bool:
        model = self.model
        self.model = Told(model, self.eval_env)  # type: ignore[assignment, arg-type]
        try:
            return super()._on_step()
        finally:
            self.model = model
