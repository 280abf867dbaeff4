"""Spaces as data: what a file says of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from gymnasium import spaces

from agents.net.spaces import read_space, space_data


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(-np.inf, np.inf, (3,), np.float32),
        spaces.Box(np.array([0, -1], np.int16), np.array([5, 300], np.int16), dtype=np.int16),
        spaces.Box(0, 255, (3, 36, 40), np.uint8),
        spaces.Box(-1, 1, (), np.float64),
        spaces.MultiDiscrete([3, 255], dtype=np.uint8),
        spaces.Discrete(7),
        spaces.MultiBinary(4),
        spaces.MultiBinary([2, 3]),
        spaces.Dict({"a": spaces.Discrete(3), "b": spaces.Box(0, 1, (2, 2), np.float32)}),
    ],
    ids=lambda value: str(value)[:60],
)
def test_spaces_come_back(space):
    again = read_space(json.loads(json.dumps(space_data(space))), 2**16, 5)
    assert again == space
