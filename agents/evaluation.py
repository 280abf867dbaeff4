"""SB3's evaluation for policies with memory *and* masks (edge).

SB3's own `evaluate_policy` and `EvalCallback` carry the memory but know no masks; sb3-contrib's maskable
ones (2.9) pass masks but drop the state that `predict` returns. These two do both, with SB3's arguments.
"""

from __future__ import annotations

from typing import Any

import gymnasium
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3.common import evaluation
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from agents.ppo import MaskableRecurrentPPO


class WithMasks:
    """A model whose `predict` asks `env` for its masks; everything else is the model's."""

    def __init__(self, model: MaskableRecurrentPPO, env: VecEnv) -> None:
        self.model, self.env = model, env
        self.has_masks = is_masking_supported(env)

    def predict(self, observation: Any, **arguments: Any) -> Any:
        """The model's `predict` under the masks of the moment."""
        masks = get_action_masks(self.env) if self.has_masks else None
        return self.model.predict(observation, action_masks=masks, **arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)


def evaluate_policy(
    model: MaskableRecurrentPPO, env: gymnasium.Env[Any, Any] | VecEnv, *arguments: Any, **named: Any
) -> Any:
    """SB3's `evaluate_policy`, same arguments and results, with the masks of `env`."""
    worlds = env if isinstance(env, VecEnv) else DummyVecEnv([lambda: env])
    return evaluation.evaluate_policy(WithMasks(model, worlds), worlds, *arguments, **named)  # type: ignore[arg-type]


class MaskableEvalCallback(EvalCallback):
    """SB3's `EvalCallback`, same arguments, with the masks of its env."""

    def _on_step(self) -> bool:
        model = self.model
        self.model = WithMasks(model, self.eval_env)  # type: ignore[assignment, arg-type]
        try:
            return super()._on_step()
        finally:
            self.model = model
