"""Gymnasium's worlds, and our cells in the algorithms of Stable-Baselines3."""
