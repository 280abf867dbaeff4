"""How it gets better: settings, rollouts, returns, the loss and the update, the algorithm."""
