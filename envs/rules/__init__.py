"""Rules that several games share, compiled like a game's own."""
