"""Agents with memory: cells, the scan, policies, self-play training, players and their files.

model = agents.MaskableRecurrentPPO("MlpLstmPolicy", envs.Batch(envs.make("kuhn_poker"), 64),
                                    policy_kwargs={"cell": "gated"})
model.learn(100_000)
model.save("agent.zip")
agent = agents.load("agent.zip")        # needs no environment
action = agent.act(match.observation(0), match.mask(), seat=0)
"""

from __future__ import annotations

from agents.gym.evaluation import MaskableEvalCallback, evaluate_policy
from agents.gym.sb3 import RecurrentCellPolicy
from agents.learn.algorithm import MaskableRecurrentPPO
from agents.learn.exploiter import learned_best_response
from agents.learn.schedules import Constant, Linear, Power
from agents.net.cells import CELLS
from agents.net.policy import RecurrentPolicy
from agents.net.scan import scan
from agents.packaged import version
from agents.play.agent_file import load
from agents.play.exploit import best_response, exploitability
from agents.play.opposition import Opposition
from agents.play.players import FIXED_PLAYERS, Agent, Player, fixed_player
from agents.play.standings import tournament

__version__ = version()

__all__ = [
    "CELLS",
    "FIXED_PLAYERS",
    "Agent",
    "Constant",
    "Linear",
    "MaskableEvalCallback",
    "MaskableRecurrentPPO",
    "Opposition",
    "Player",
    "Power",
    "RecurrentCellPolicy",
    "RecurrentPolicy",
    "__version__",
    "best_response",
    "evaluate_policy",
    "exploitability",
    "fixed_player",
    "learned_best_response",
    "load",
    "scan",
    "tournament",
]
