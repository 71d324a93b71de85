"""What a track sounds like: its audio features as the source delivers them, and its duration."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, Final

import numpy as np

from ml.problem import Array, Examples, Marts, Rows, TooLittle, require

AUDIO: Final = (
    "tempo", "energy", "danceability", "valence", "acousticness", "instrumentalness", "speechiness", "liveness", "loudness",
)  # fmt: skip
FEATURES: Final = (*AUDIO, "duration_ms")
FEWEST_KNOWN: Final = 3  # audio features that must be known of a track
FEWEST_TRACKS: Final = 20  # of a genre that is to be learned
FEWEST_ARTISTS: Final = 5
FEWEST_ROWS: Final = 200
_COLUMNS: Final = ("track_id", "artist_id", "release_id", "genre", *FEATURES)
_HEARD: Final = f"num_nonnulls({', '.join(AUDIO)}) >= {FEWEST_KNOWN}"


def gather(marts: Marts, day: date) -> Examples:
    """Every track with a genre and audio features; genres of fewer than 20 tracks or 5 artists are left out."""
    require(marts, {"track_facts": _COLUMNS})
    tracks = marts.read(f'SELECT {", ".join(_COLUMNS)} FROM track_facts WHERE {_HEARD} AND genre IS NOT NULL ORDER BY track_id COLLATE "C"')
    groups = artists(tracks)
    genres = [name for name in np.unique(tracks["genre"].astype(str)) if _is_learnable(name, tracks["genre"], groups)]
    kept = np.isin(tracks["genre"], genres)
    if len(genres) < 2 or kept.sum() < FEWEST_ROWS:
        raise TooLittle(
            f"{int(kept.sum())} tracks of {len(genres)} genres have audio features, and {FEWEST_ROWS} of 2 are needed"
            f" (a genre counts from {FEWEST_TRACKS} tracks of {FEWEST_ARTISTS} artists)"
        )
    number = {name: place for place, name in enumerate(genres)}
    labels = np.array([number[name] for name in tracks["genre"][kept]], dtype=np.int64)
    return Examples(
        features=FEATURES,
        x=_matrix(tracks)[kept],
        y=labels,
        moments=np.full(len(labels), np.datetime64(day)),
        groups=groups[kept],
        segments=tracks["genre"][kept].astype(str),
        more={"genres": np.array(genres)},
    )


def today(marts: Marts, day: date) -> Rows:
    """The tracks with audio features whose genre nobody says."""
    require(marts, {"track_facts": _COLUMNS})
    tracks = marts.read(
        f'SELECT track_id, {", ".join(FEATURES)} FROM track_facts WHERE {_HEARD} AND genre IS NULL ORDER BY track_id COLLATE "C"'
    )
    return Rows(FEATURES, _matrix(tracks), {"track_id": tracks["track_id"]})


def _matrix(tracks: Mapping[str, Array]) -> Array:
    return np.stack([tracks[name] for name in FEATURES], axis=1).astype(np.float32)


def artists(tracks: Mapping[str, Array]) -> Array:
    """A number for whom a track stands with: its artist, else its release, else itself. The same name has the same number for ever."""
    names = (
        f"artist {artist}" if artist else f"release {release}" if release else f"track {track}"
        for artist, release, track in zip(tracks["artist_id"], tracks["release_id"], tracks["track_id"], strict=True)
    )
    return np.array([int.from_bytes(hashlib.blake2b(name.encode(), digest_size=6).digest()) for name in names], dtype=np.int64)


def _is_learnable(name: str, genre: Array, groups: Array) -> bool:
    mine = genre == name
    return bool(mine.sum() >= FEWEST_TRACKS and len(np.unique(groups[mine])) >= FEWEST_ARTISTS)


def results(rows: Rows, predictions: Array, settled: Mapping[str, Any], day: date, version: str) -> Iterator[tuple[Any, ...]]:
    """The rows of `genre_predictions`."""
    best = predictions.argmax(axis=1) if len(predictions) else np.empty(0, dtype=np.int64)
    for track, place, answers in zip(rows.keys["track_id"], best, predictions, strict=True):
        yield str(track), day, str(settled["genres"][place]), round(float(answers[place]), 6), version
