"""The render modes that the adapters share."""

from __future__ import annotations

from typing import Final

import gymnasium
import numpy as np
import numpy.typing as npt

from envs.drawing import rasterise
from envs.match import Match
from envs.names import known
from envs.window import Window

RENDER_MODES: Final = ["ansi", "rgb_array", "human"]


class Screen:
    """Shows a match as the referee sees it, in one render mode.

    Args:
        mode: "ansi" (str), "rgb_array" (uint8 [height, width, 3]), "human" (a window, which opens with
            the first picture) or None.
        title: of the window.
        frames_per_second: of the window, at most.

    Raises:
        ValueError: the mode is unknown.
    """

    def __init__(self, mode: str | None, title: str, frames_per_second: float) -> None:
        if mode is not None and mode not in RENDER_MODES:
            raise ValueError(f"unknown render_mode {mode!r}; known are {known(mode, RENDER_MODES)}")
        self._mode, self._title, self._frames_per_second = mode, title, frames_per_second
        self._window: Window | None = None

    def show(self, match: Match) -> str | npt.NDArray[np.uint8] | None:
        """A string, pixels, or None and a window."""
        if self._mode == "ansi":
            return match.text()
        if self._mode == "rgb_array":
            return rasterise(match.svg())
        if self._mode == "human":
            if self._window is None:
                self._window = Window(self._title, self._frames_per_second)
            self._window.show(rasterise(match.svg()))
            return None
        gymnasium.logger.warn(f"{match.game.name}: render() without a render_mode shows nothing")
        return None

    def refresh(self, match: Match) -> None:
        """Show the match if it is watched live."""
        if self._mode == "human":
            self.show(match)

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._window is not None:
            self._window.close()
            self._window = None
