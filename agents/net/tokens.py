"""TokenModel: embedding -> recurrent core -> dense softmax over what comes next, the textbook's network.

What it remembers comes in as an argument and leaves as a result, as everywhere here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from agents.net import settings
from agents.net.policy import Core


class TokenModel(nn.Module):
    """Predicts the next of V tokens from all that came before it.

    x = E[previous token],  h = the last of L cells along time,  logits = A h + a

    Before the first token of a sequence stands a row of E of its own, the V-th, counted from 0.

    Args:
        tokens: V.
        embedding_dim: columns of E.
        dropout: share left out, while it trains, of what the embedding and each of the cells hand on.
        cell, lstm_hidden_size, n_lstm_layers, lstm_kwargs: of the core, see `agents.net.policy.Core`.

    Raises:
        ValueError: an argument does not fit; the message says what would.
    """

    def __init__(
        self,
        tokens: int,
        *,
        cell: str = "gated",
        embedding_dim: int = 64,
        lstm_hidden_size: int = 128,
        n_lstm_layers: int = 2,
        lstm_kwargs: Mapping[str, Any] | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        dropout = settings.check("dropout", dropout)
        options = dict(lstm_kwargs or {})
        if n_lstm_layers > 1:
            options.setdefault("dropout", dropout)
        E = settings.check("embedding_dim", embedding_dim)
        self.tokens = tokens
        self.embedding = nn.Embedding(tokens + 1, E)
        self.core = Core(cell, E, lstm_hidden_size, n_lstm_layers, options)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(lstm_hidden_size, tokens)

    def initial_cores(self, sequences: int) -> tuple[Tensor, ...]:
        """What is remembered before the first token: zeros, parts [L, B, 1, H]."""
        return self.core.initial_state(sequences, 1)

    def forward(
        self, previous: Tensor, start: Tensor, cores: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Run along time.

        Args:
            previous: int64 [T, B] in 0..V, the token before the one to predict; V where there is none.
            start: bool [T, B], the token to predict is the first of a sequence.
            cores: parts [L, B, 1, H] before the first step.

        Returns:
            logits [T, B, V] of the tokens to predict, and the parts after the last step.
        """
        x = self.dropout(self.embedding(previous))
        latent, cores = self.core(x, cores, start)
        logits: Tensor = self.head(self.dropout(latent))
        return logits, cores

    @torch.no_grad()
    def look(
        self, previous: Tensor, start: Tensor, cores: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """One step: `previous` and `start` [B] -> log-probabilities [B, V] and the parts after it."""
        logits, cores = self(previous[None], start[None], cores)
        return logits[0].log_softmax(-1), cores
