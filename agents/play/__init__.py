"""Who sits at the board: players, bots, who sits opposite, arena, agents' files."""
