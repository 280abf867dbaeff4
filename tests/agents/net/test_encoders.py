"""Encoders: what a network makes of an observation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.net.encoders import PlaneScale, SlotEncoder, make_encoder


def test_slots_are_the_sum_of_their_codes_vectors():
    """Slots of 2 and 3 codes: rows 0, 1 and 2, 3, 4 of the table; the observation (1, 2) is rows 1 + 4."""
    encoder = SlotEncoder([2, 3], 4)
    table = encoder.weight
    observed = torch.tensor([[0, 0], [1, 2]], dtype=torch.uint8)
    torch.testing.assert_close(encoder(observed), torch.stack([table[0] + table[2], table[1] + table[4]]))


@pytest.mark.parametrize(
    "space",
    [
        spaces.MultiDiscrete([3] * 9),
        spaces.Box(-1.0, 1.0, (4,)),
        spaces.Box(-1.0, 1.0, ()),
        spaces.Box(0, 5, (2, 3), np.int16),
        spaces.Box(0, 1, (3, 5, 4), np.uint8),
        spaces.MultiBinary(6),
    ],
    ids=["slots", "numbers", "one number", "table", "planes", "bits"],
)
def test_every_known_space_has_an_encoder_with_free_leading_dimensions(space):
    """[T, B, ...] -> [T, B, E], row by row the same as alone, and different things look different."""
    space.seed(0)
    torch.manual_seed(0)
    encoder = make_encoder(space, 8)
    seen = torch.from_numpy(np.stack([np.asarray(space.sample()) for _ in range(6)]))
    features = encoder(seen.unflatten(0, (2, 3)))
    assert features.shape == (2, 3, 8)
    torch.testing.assert_close(features.flatten(0, 1), torch.cat([encoder(row[None]) for row in seen]))
    assert (features.flatten(0, 1).std(0) > 0).all()


@pytest.mark.parametrize(
    "space", [spaces.Text(5), spaces.Dict({"a": spaces.Text(5)}), spaces.MultiDiscrete([[2, 3]])]
)
def test_an_unknown_space_is_refused(space):
    with pytest.raises(ValueError, match=r"no encoder for the observation space .*; known are MultiDiscrete"):
        make_encoder(space, 8)


def test_counts_enter_on_a_log_scale_and_other_planes_as_they_are():
    """log2(1 + x) / 4 of 0, 15 and 255 is 0, 1 and 2, on every board; a plane with -1 in it is no count."""
    low, high = np.zeros((3, 1, 3), np.int16), np.ones((3, 1, 3), np.int16)
    high[0], low[2], high[2] = 600, -1, 4
    scale = PlaneScale(spaces.Box(low, high, dtype=np.int16))
    observed = torch.tensor([[[0, 15, 255]], [[0, 1, 1]], [[-1, 4, 2]]], dtype=torch.int16)
    assert scale(observed[None])[0].tolist() == [[[0, 1, 2]], [[0, 1, 1]], [[-1, 4, 2]]]
    floats = torch.tensor([[[-7.5, 15.0, 255.0]]] * 3)
    assert torch.equal(PlaneScale(spaces.Box(-np.inf, np.inf, (3, 1, 3)))(floats[None])[0], floats)
