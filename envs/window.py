"""A window on the desktop, for those who watch matches live (edge: pygame-ce, the extra `window`)."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

INSTEAD = "or use --render gif, svg or ansi"


class Window:
    """A window that shows one picture after the other; it opens with the first.

    Args:
        title: of the window.
        frames_per_second: `show` waits so that pictures follow each other no faster.

    Raises:
        RuntimeError: pygame is not installed, or there is no display.
    """

    def __init__(self, title: str, frames_per_second: float = 2) -> None:
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        try:
            import pygame
        except ImportError:
            raise RuntimeError(f"a window needs pygame: pip install 'fogbound[window]', {INSTEAD}") from None
        self._pygame = pygame
        self._title = title
        self._frames_per_second = frames_per_second
        self._clock = pygame.time.Clock()
        self._surface: Any = None
        self._is_closed = False
        self._start_display()

    def show(self, pixels: npt.NDArray[np.uint8]) -> bool:
        """Show a picture, uint8 [height, width, 3], shrunk if it is larger than the desktop.

        Returns:
            Whether the window is open: False once the user or `close` has closed it.
        """
        if self._is_closed:
            return False
        pygame = self._pygame
        height, width = pixels.shape[:2]
        if self._surface is None:
            self._surface = pygame.display.set_mode(self._fitting(width, height))
            pygame.display.set_caption(self._title)
        picture = pygame.image.frombuffer(pixels.tobytes(), (width, height), "RGB")
        self._surface.blit(pygame.transform.smoothscale(picture, self._surface.get_size()), (0, 0))
        pygame.display.flip()
        self._clock.tick(self._frames_per_second)
        if pygame.event.get(pygame.QUIT):
            self.close()
        return not self._is_closed

    def close(self) -> None:
        """Close the window; it stays closed."""
        if not self._is_closed:
            self._is_closed = True
            self._pygame.display.quit()

    def _start_display(self) -> None:
        pygame = self._pygame
        try:
            pygame.display.init()
        except pygame.error as error:
            raise RuntimeError(f"no window can be opened ({error}): find a display, {INSTEAD}") from None
        # Where SDL finds no display it falls back, silently, to one that nobody sees.
        is_unseen = pygame.display.get_driver() == "offscreen"
        if is_unseen and os.environ.get("SDL_VIDEODRIVER") != "offscreen":
            pygame.display.quit()
            raise RuntimeError(f"no window can be opened, there is no display: find one, {INSTEAD}")

    def _fitting(self, width: int, height: int) -> tuple[int, int]:
        """The picture's size, shrunk to nine tenths of the desktop if need be."""
        across, down = self._pygame.display.get_desktop_sizes()[0]
        scale = min(1.0, 0.9 * across / width, 0.9 * down / height)
        return round(scale * width), round(scale * height)
