"""How each genre sounds: the mean of its audio features before noise, and the noise.

A feature is drawn in an unbounded space as `mean + NOISE / separation * normal` and then brought to its scale (logistic for shares, linear
for tempo and loudness), so the genre's posterior given the features is known exactly: that is the best score any model can reach on
features alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nocturne.simulator.randomness import Floats, Ints, sigmoid

FEATURES = (
    "tempo", "energy", "danceability", "valence", "acousticness", "instrumentalness", "speechiness", "liveness", "loudness"
)  # fmt: skip

# tempo in tens of beats around 120; loudness in units of 3 dB around -9; the rest as logits.
GENRES: Mapping[str, tuple[float, ...]] = {
    "pop": (0.0, 0.8, 0.7, 0.4, -1.2, -3.6, -2.4, -1.7, 1.0),
    "rock": (0.4, 1.4, -0.2, 0.1, -2.2, -2.6, -2.5, -1.3, 0.9),
    "hip_hop": (-1.4, 0.6, 1.3, 0.0, -1.3, -4.0, -0.6, -1.4, 0.7),
    "electronic": (0.7, 1.3, 0.9, -0.2, -2.8, 0.2, -2.4, -1.5, 0.8),
    "rnb": (-1.6, 0.0, 0.9, 0.3, -0.4, -3.8, -1.7, -1.8, 0.1),
    "jazz": (-0.9, -1.1, -0.1, 0.1, 1.6, 0.3, -2.6, -1.4, -1.5),
    "classical": (-1.5, -2.4, -1.4, -1.1, 3.0, 1.9, -3.0, -1.9, -3.2),
    "folk": (-0.4, -0.9, -0.3, 0.2, 1.4, -2.2, -2.9, -1.7, -0.8),
    "metal": (1.2, 2.6, -0.9, -0.7, -4.0, -0.9, -1.9, -0.9, 1.6),
    "latin": (-0.8, 0.9, 1.3, 1.2, -0.8, -3.9, -2.1, -1.6, 0.9),
    "country": (0.2, 0.5, 0.2, 0.6, -0.3, -3.9, -3.0, -1.6, 0.5),
    "ambient": (-2.2, -2.9, -1.3, -1.6, 2.2, 2.6, -2.9, -2.0, -3.6),
}
NOISE = (1.7, 0.88, 0.68, 0.85, 1.1, 1.35, 0.6, 0.56, 0.8)
_TEMPO, _LOUDNESS = 0, 8


def hidden_features(genres: tuple[str, ...], genre: Ints, separation: float, generator: np.random.Generator) -> Floats:
    """The features of tracks of these genres (n x 9) in the unbounded space."""
    means = np.array([GENRES[name] for name in genres])
    return means[genre] + np.array(NOISE) / separation * generator.standard_normal((len(genre), len(FEATURES)))


def shown_features(hidden: Floats) -> Floats:
    """The same on the scales of the catalogue: beats a minute, shares 0 to 1 with four decimals, decibels."""
    shown = np.round(sigmoid(hidden), 4)
    shown[:, _TEMPO] = np.round(np.clip(120 + 10 * hidden[:, _TEMPO], 45, 220), 2)
    shown[:, _LOUDNESS] = np.round(np.clip(-9 + 3 * hidden[:, _LOUDNESS], -60, 0), 3)
    return shown


def genre_posterior(genres: tuple[str, ...], priors: Floats, hidden: Floats, separation: float) -> Floats:
    """P(genre | features) of each track (n x genres), by Bayes' rule under the world's own law."""
    means = np.array([GENRES[name] for name in genres])
    spread = np.array(NOISE) / separation
    distance = (((hidden[:, None, :] - means[None, :, :]) / spread) ** 2).sum(axis=2)
    logs = np.log(priors)[None, :] - distance / 2
    logs -= logs.max(axis=1, keepdims=True)
    odds = np.exp(logs)
    return odds / odds.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]
