"""One file per game, each opening with its player's manual. Start with `kuhn_poker.py`."""
