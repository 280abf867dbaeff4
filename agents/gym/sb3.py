"""Our cells inside the stock `sb3_contrib.RecurrentPPO`, which stays as it is.

    model = sb3_contrib.RecurrentPPO(RecurrentCellPolicy, env, policy_kwargs={"cell": "gated"})

The policies are sb3-contrib's with one thing exchanged: `lstm_actor` and `lstm_critic` are stacks of one of
`agents.CELLS`, run by `agents.scan`. Observations, heads, distributions, buffers, the loss and the arguments
are the stock's, and so are its choices: a shared core gets no gradient from the critic.

    RecurrentCellPolicy              vectors and codes   "MlpLstmPolicy" of sb3-contrib
    RecurrentCellCnnPolicy           images              "CnnLstmPolicy"
    RecurrentCellMultiInputPolicy    Dict                "MultiInputLstmPolicy"

The stock's buffers keep two parts of state, h and c, each [L, B, H]. A cell with one part uses h; its c is
handed on untouched, zeros from beginning to end.

Files written by `RecurrentPPO.save` and `policy.save` are the stock's: loading one unpickles it, so load
only what you trust. `agents.MaskableRecurrentPPO` writes files that execute nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from gymnasium import spaces
from sb3_contrib.common.recurrent.policies import (
    RecurrentActorCriticCnnPolicy,
    RecurrentActorCriticPolicy,
    RecurrentMultiInputActorCriticPolicy,
)
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from agents.net.cells import cell_class
from agents.net.policy import Core


class StockCore(Core):
    """A `Core` with the sizes under the names of `nn.LSTM`, where the stock looks for them."""

    def __init__(
        self, cell: str, input_size: int, hidden_size: int, num_layers: int, options: Mapping[str, Any]
    ) -> None:
        super().__init__(cell, input_size, hidden_size, num_layers, options)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers


class RecurrentCellPolicy(RecurrentActorCriticPolicy):
    """sb3-contrib's recurrent policy over a cell of your choice.

    Args:
        observation_space: Box, Discrete, MultiDiscrete or MultiBinary.
        action_space: any that `RecurrentPPO` takes.
        lr_schedule: learning rate from the remaining progress, 1 to 0.
        cell: a name in `agents.CELLS`.
        n_lstm_layers: L, of whichever cell.
        shared_lstm: the critic reads the actor's core, without sending it gradients.
        enable_critic_lstm: the critic has a core of its own. With neither, the critic has no memory.
        lstm_kwargs: options of the cores, see `agents.net.policy.Core`.
        stock: every other keyword of sb3-contrib's policy, `lstm_hidden_size` and `net_arch` among them.

    Raises:
        ValueError: an argument does not fit; the message says what would.
    """

    lstm_actor: StockCore  # type: ignore[assignment]  # the stock's is an nn.LSTM
    lstm_critic: StockCore | None  # type: ignore[assignment]

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        *,
        cell: str = "gated",
        n_lstm_layers: int = 1,
        shared_lstm: bool = False,
        enable_critic_lstm: bool = True,
        lstm_kwargs: Mapping[str, Any] | None = None,
        **stock: Any,
    ) -> None:
        _check_critic(shared_lstm, enable_critic_lstm, stock.get("share_features_extractor", True))
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            n_lstm_layers=n_lstm_layers,
            shared_lstm=shared_lstm,
            enable_critic_lstm=enable_critic_lstm,
            lstm_kwargs={"device": "meta"},  # the stock's own LSTMs, replaced below, take no memory
            **stock,
        )
        cell_class(cell)  # here a person names it, no agent's file
        self.cell = cell
        self.lstm_kwargs = dict(lstm_kwargs or {})
        self.lstm_actor = self._make_core()
        if enable_critic_lstm:
            self.lstm_critic = self._make_core()
        self.optimizer = self.optimizer_class(
            self.parameters(),
            lr=lr_schedule(1),  # type: ignore[call-arg]  # of torch's optimizers, if not of their base class
            **self.optimizer_kwargs,
        )

    def _make_core(self) -> StockCore:
        layers, _, hidden_size = self.lstm_hidden_state_shape
        return StockCore(self.cell, self.features_dim, hidden_size, layers, self.lstm_kwargs)

    def make_features_extractor(self) -> BaseFeaturesExtractor:
        """The stock's; its size, NumPy's for MultiDiscrete, becomes the int that torch's LSTM asks for."""
        extractor = super().make_features_extractor()
        extractor._features_dim = int(extractor.features_dim)
        return extractor

    @staticmethod
    def _process_sequence(  # type: ignore[override]  # a core where the stock has an nn.LSTM
        features: Tensor,
        lstm_states: tuple[Tensor, Tensor],
        episode_starts: Tensor,
        lstm: StockCore,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Run the core along S sequences of equal length T.

        Args:
            features: [S * T, E], one sequence after another.
            lstm_states: h and c before the first step, [L, S, H] each.
            episode_starts: [S * T], not 0 where an episode begins: at any step, not only at the first.
            lstm: the core.

        Returns:
            outputs [S * T, H], and h and c after the last step.
        """
        sequences = lstm_states[0].shape[1]
        x = features.reshape(sequences, -1, lstm.input_size).transpose(0, 1)
        start = episode_starts.reshape(sequences, -1).transpose(0, 1) != 0
        before = tuple(part.unsqueeze(2) for part in lstm_states[: lstm.parts])  # one seat
        outputs, after = lstm(x, before, start)
        unused = lstm_states[lstm.parts :]
        return outputs.transpose(0, 1).flatten(0, 1), (*(part.squeeze(2) for part in after), *unused)

    def evaluate_actions(  # type: ignore[override]  # as the stock's
        self, obs: Tensor, actions: Tensor, lstm_states: RNNStates, episode_starts: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The stock's; MultiBinary actions, int8 in its buffer, become the floats that torch asks for.

        Args:
            obs: [S * T, ...], one sequence after another.
            actions: [S * T, ...].
            lstm_states: the actor's and the critic's, as `_process_sequence` takes them.
            episode_starts: [S * T].

        Returns:
            values [S * T, 1], log-probabilities and entropies [S * T].
        """
        if isinstance(self.action_space, spaces.MultiBinary):
            actions = actions.float()
        return super().evaluate_actions(obs, actions, lstm_states, episode_starts)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        """What `policy.load` builds the policy from: the stock's list, and what it leaves out."""
        layers, _, hidden_size = self.lstm_hidden_state_shape
        return super()._get_constructor_parameters() | {
            "cell": self.cell,
            "lstm_hidden_size": hidden_size,
            "n_lstm_layers": layers,
            "shared_lstm": self.shared_lstm,
            "enable_critic_lstm": self.enable_critic_lstm,
            "lstm_kwargs": self.lstm_kwargs,
            "share_features_extractor": self.share_features_extractor,
        }

    def load_stock(self, stock: RecurrentActorCriticPolicy) -> None:
        """Take over the weights of sb3-contrib's own policy of the same shape; with `cell="lstm"` only.

        From then on both compute the same. They learn the same but for one detail: torch's LSTM trains two
        biases whose sum is our one, so that under Adam the stock's sum takes up to twice the step.

        Raises:
            ValueError: the cell is another.
        """
        if self.cell != "lstm":
            raise ValueError(f"the stock's weights fit cell 'lstm', this policy has {self.cell!r}")
        cores = {"lstm_actor": stock.lstm_actor, "lstm_critic": stock.lstm_critic}
        weights = {k: v for k, v in stock.state_dict().items() if k.partition(".")[0] not in cores}
        for name, lstm in cores.items():
            if lstm is not None:
                weights |= {f"{name}.{k}": v for k, v in core_weights(lstm).items()}
        self.load_state_dict(weights)


class RecurrentCellCnnPolicy(RecurrentCellPolicy, RecurrentActorCriticCnnPolicy):
    """`RecurrentCellPolicy` for images, read by SB3's `NatureCNN`."""


class RecurrentCellMultiInputPolicy(RecurrentCellPolicy, RecurrentMultiInputActorCriticPolicy):
    """`RecurrentCellPolicy` for Dict observations, read by SB3's `CombinedExtractor`."""


def core_weights(lstm: nn.LSTM) -> dict[str, Tensor]:
    """torch's LSTM as the state dict of a `Core` of ours.

    Blocks i, f, g, o become i, f, o, g, and its two biases one.
    """
    weights = {}
    for layer in range(lstm.num_layers):
        W, U, b_ih, b_hh = (
            getattr(lstm, f"{name}_l{layer}").detach()
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        for name, blocks in {"W": W, "U": U, "b": b_ih + b_hh}.items():
            i, f, g, o = blocks.chunk(4)
            weights[f"cells.{layer}.{name}"] = torch.cat([i, f, o, g])
    return weights


def _check_critic(shared_lstm: bool, enable_critic_lstm: bool, share_features_extractor: bool) -> None:
    """The critic reads one core, and features that fit it."""
    if shared_lstm and enable_critic_lstm:
        raise ValueError("choose one of shared_lstm and enable_critic_lstm: the critic has one core")
    if shared_lstm and not share_features_extractor:
        raise ValueError("shared_lstm needs share_features_extractor: one core reads one kind of features")
