"""The window: pictures until it is closed, and what is said where there is none."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from envs.window import Window


@pytest.mark.usefixtures("unseen_window")
def test_a_window_shows_pictures_until_it_is_closed() -> None:
    import pygame

    window = Window("test", frames_per_second=10_000)
    red = np.zeros((20, 3000, 3), np.uint8)
    red[..., 0] = 255
    assert window.show(red)
    surface = pygame.display.get_surface()
    assert surface.get_width() <= pygame.display.get_desktop_sizes()[0][0]
    r, g, b, _ = surface.get_at((5, 1))
    assert r > 250  # shrinking rounds
    assert (g, b) == (0, 0)
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    assert not window.show(red)
    assert not window.show(red)
    window.close()


def test_without_pygame_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(RuntimeError, match=r"pip install 'fogbound\[window\]', or use --render gif"):
        Window("test")


def test_without_a_display_the_error_names_the_other_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    import pygame

    monkeypatch.setenv("SDL_VIDEODRIVER", "no_such_driver")
    with pytest.raises(RuntimeError, match=r"no window can be opened .*or use --render gif, svg or ansi"):
        Window("test")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")  # as if SDL had fallen back to the one nobody sees
    monkeypatch.setattr(pygame.display, "get_driver", lambda: "offscreen")
    with pytest.raises(RuntimeError, match="there is no display: find one, or use --render gif"):
        Window("test")
