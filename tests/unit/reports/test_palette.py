"""The series colours can be told apart by everybody."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from nocturne.reports import palette

# Machado, Oliveira, Fernandes (2009), severity 1.0, on linear RGB.
SIGHT = {
    "full": np.eye(3),
    "red-weak": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "green-weak": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "blue-weak": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(color: str) -> np.ndarray:
    channels = np.array([int(color[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    xyz = TO_XYZ @ np.clip(rgb, 0, 1) / np.array([0.95047, 1, 1.08883])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(one: str, other: str) -> float:
    """Contrast ratio as WCAG 2 defines it."""
    light, dark = sorted((float(TO_XYZ[1] @ linear(color)) for color in (one, other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("sight", SIGHT)
def test_any_two_series_differ_for_this_sight(sight: str) -> None:
    seen = {color: lab(np.array(SIGHT[sight]) @ linear(color)) for color in palette.SERIES}
    closest = min(float(np.linalg.norm(seen[one] - seen[other])) for one, other in combinations(seen, 2))
    assert closest >= 20


def test_series_differ_without_colour_too() -> None:
    assert len(set(palette.DASHES)) == len(set(palette.HATCHES)) == len(palette.SERIES)


def test_texts_can_be_read_on_what_they_stand_on() -> None:
    for text in (palette.INK, palette.GREY, palette.GOOD, palette.BAD, palette.INDIGO):
        assert contrast(text, palette.PAPER) >= 4.5
        assert contrast(text, palette.WASH) >= 4.5


def test_the_scale_of_heatmaps_darkens_evenly() -> None:
    lightness = [lab(linear(color))[0] for _, color in palette.SCALE]
    steps = -np.diff(lightness)
    assert steps.min() > 10
    assert steps.max() / steps.min() < 2
