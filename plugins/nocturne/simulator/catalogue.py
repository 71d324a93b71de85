"""What there is to hear: artists, releases, tracks with their sound, playlists and what stands in them on each day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from nocturne.simulator.clock import Clock
from nocturne.simulator.parameters import WorldParameters
from nocturne.simulator.randomness import Flags, Floats, Indices, Ints, bits, dice, lookup, words
from nocturne.simulator.sounds import hidden_features

ALWAYS = 1 << 30
"""A day number that no world reaches."""
PLAYLIST_TYPES = ("editorial", "algorithmic", "user")
_PLAYLISTS_A_GENRE = 4  # two editorial, one algorithmic, one made by a user
_PLAYLIST_LENGTH = 30
_PLAYLIST_TABLE = 256


@dataclass(frozen=True)
class Releases:
    """Arrays by release."""

    artist: Ints
    released: Ints  # day number, mostly negative
    kind: Ints  # 0 single, 1 ep, 2 album


@dataclass(frozen=True)
class Playlists:
    """Arrays by playlist, and their entries as intervals of days [from, to)."""

    genre: Ints
    kind: Ints  # index of PLAYLIST_TYPES
    followers: Ints  # on the first day
    entry_playlist: Ints
    entry_track: Ints
    entry_from: Ints
    entry_to: Ints
    entry_position: Ints


@dataclass(frozen=True)
class Pools:
    """A day's tables of what can be drawn: pool p is `tracks[offset[p] + (uniform 32 bits >> shift[p])]`; genres first, then playlists."""

    tracks: Indices
    offset: Ints
    shift: Ints


class Catalogue:
    """Everything that is played. Tracks of one artist have neighbouring numbers."""

    def __init__(self, parameters: WorldParameters, clock: Clock) -> None:
        self.parameters = parameters
        self.genres = tuple(parameters.genres)
        shares = np.array(list(parameters.genres.values()), float)
        self.genre_shares: Floats = shares / shares.sum()
        generator = dice(parameters.seed, "catalogue")
        artists, tracks = parameters.artists, parameters.tracks
        self.artist_genre: Ints = generator.choice(len(shares), artists, p=self.genre_shares).astype(np.int64)
        self.artist_pull: Floats = np.exp(1.1 * generator.standard_normal(artists))
        self.artist_country: Ints = generator.choice(len(parameters.countries), artists, p=_country_shares(parameters))
        self.artist_shows_genre: Flags = generator.random(artists) < 0.7
        self.track_artist = self._share_out(artists, tracks, generator)
        own = generator.random(tracks) < 0.78
        other = generator.choice(len(shares), tracks, p=self.genre_shares)
        self.track_genre: Ints = np.where(own, self.artist_genre[self.track_artist], other)
        self.track_shows_genre: Flags = generator.random(tracks) >= parameters.unlabelled
        self.track_pull: Floats = self.artist_pull[self.track_artist] * np.exp(0.8 * generator.standard_normal(tracks))
        self.duration_ms: Ints = (1000 * np.clip(205 * np.exp(0.28 * generator.standard_normal(tracks)), 62, 720)).astype(np.int64)
        self.is_explicit: Flags = generator.random(tracks) < 0.12
        self.hidden = hidden_features(self.genres, self.track_genre, parameters.separation, dice(parameters.seed, "sounds"))
        self.releases, self.track_release = self._release(clock)
        self.track_released: Ints = self.releases.released[self.track_release]
        self.hit_tracks = self._choose_hits(clock)
        self.bot_artists = self._choose_bot_artists()
        self.playlists = self._make_playlists(clock)
        self._of_genre = [np.flatnonzero(self.track_genre == g) for g in range(len(self.genres))]

    @staticmethod
    def _share_out(artists: int, tracks: int, generator: np.random.Generator) -> Ints:
        """The artist of each track: at least one each, the rest unevenly."""
        weights = np.exp(0.7 * generator.standard_normal(artists))
        more = generator.multinomial(tracks - artists, weights / weights.sum())
        return np.repeat(np.arange(artists), 1 + more)

    def _release(self, clock: Clock) -> tuple[Releases, Ints]:
        """Cut each artist's tracks into releases; most are old, some come out on Fridays of the world."""
        generator = dice(self.parameters.seed, "releases")
        tracks = len(self.track_artist)
        sizes = np.array([1, 5, 11])
        starts = np.zeros(tracks, bool)
        first_of_artist = np.r_[True, self.track_artist[1:] != self.track_artist[:-1]]
        kinds = generator.choice(3, tracks, p=[0.45, 0.2, 0.35])
        left = 0
        for track in range(tracks):
            if first_of_artist[track] or left == 0:
                starts[track] = True
                left = int(sizes[kinds[track]])
            left -= 1
        release = np.cumsum(starts) - 1
        count = int(release[-1]) + 1
        lengths = np.bincount(release)
        kind = np.where(lengths == 1, 0, np.where(lengths <= 6, 1, 2))
        released = -1 - np.minimum(generator.exponential(1500, count), 14_000).astype(np.int64)
        fridays = np.array([day for day in range(-21, clock.days) if clock.date_of(day).weekday() == 4])
        fresh = generator.random(count) < min(0.5, 0.0008 * (clock.days + 21))
        if len(fridays):
            released = np.where(fresh, fridays[generator.integers(0, len(fridays), count)], released)
        return Releases(self.track_artist[starts], released, kind), release

    def _choose_hits(self, clock: Clock) -> tuple[int, ...]:
        """A track of little pull for each planted hit."""
        order = np.argsort(np.where(self.track_released < -30, self.track_pull, np.inf), kind="stable")
        middle = order[len(order) // 3 :]
        return tuple(int(middle[7 * n % len(middle)]) for n, _ in enumerate(self.parameters.events.hits))

    def _choose_bot_artists(self) -> tuple[int, ...]:
        """An artist of little pull, who has no hit, for each planted bot farm."""
        taken = {int(self.track_artist[track]) for track in self.hit_tracks}
        order = [int(a) for a in np.argsort(self.artist_pull, kind="stable") if int(a) not in taken]
        return tuple(order[(len(order) // 5 + 3 * n) % len(order)] for n, _ in enumerate(self.parameters.events.bot_farms))

    def _make_playlists(self, clock: Clock) -> Playlists:
        """Four a genre; each changes a few entries once a week; a hit enters its genre's first playlist three days after it took off."""
        generator = dice(self.parameters.seed, "playlists")
        genre = np.repeat(np.arange(len(self.genres)), _PLAYLISTS_A_GENRE)
        kind = np.tile([0, 0, 1, 2], len(self.genres))
        followers = (np.exp(9.5 + 1.2 * generator.standard_normal(len(genre))) / (1 + 8 * (kind == 2))).astype(np.int64)
        entries: list[tuple[int, int, int, int, int]] = []
        for playlist in range(len(genre)):
            entries += self._fill(playlist, np.flatnonzero(self.track_genre == genre[playlist]), clock, generator)
        for hit, track in zip(self.parameters.events.hits, self.hit_tracks, strict=True):
            day = clock.number_of(hit.happens_on) + 3
            playlist = int(self.track_genre[track]) * _PLAYLISTS_A_GENRE
            entries = [e for e in entries if not (e[0] == playlist and e[1] == track)]
            if 0 <= day < clock.days:
                entries.append((playlist, track, day, ALWAYS, 1))
        columns = np.array(entries, np.int64).reshape(-1, 5)
        return Playlists(genre, kind, followers, *(columns[:, n] for n in range(5)))

    def _fill(self, playlist: int, tracks: Ints, clock: Clock, generator: np.random.Generator) -> list[tuple[int, int, int, int, int]]:
        """The entries (playlist, track, from, to, position) of one playlist over the world's days."""
        entries: list[tuple[int, int, int, int, int]] = []
        standing: dict[int, tuple[int, int]] = {}
        for day in [0, *range(1 + playlist % 7, clock.days, 7)]:
            wanted = _PLAYLIST_LENGTH if day == 0 else 3
            out = [] if day == 0 else sorted(standing, key=lambda track: (standing[track][0], track))[: max(0, len(standing) - 20)][:wanted]
            for track in out:
                since, position = standing.pop(track)
                entries.append((playlist, track, since, day, position))
            there = tracks[(self.track_released[tracks] < day) & ~np.isin(tracks, list(standing)) & ~np.isin(tracks, out)]
            count = min(wanted, len(there))
            if count:
                pull = self.track_pull[there] * (1 + 6 * (self.track_released[there] > day - 30))
                chosen = generator.choice(there, count, replace=False, p=pull / pull.sum())
                standing |= {int(track): (day, len(standing) + n + 1) for n, track in enumerate(chosen)}
        return entries + [(playlist, track, since, ALWAYS, position) for track, (since, position) in standing.items()]

    def pull_on(self, day: int) -> Floats:
        """How strongly each track draws on a day: nothing before its release, then more while it is new."""
        age = day - self.track_released
        return np.where(age < 0, 0.0, self.track_pull * (1 + 4 * np.exp(-np.maximum(age, 0) / 14)))

    @lru_cache(maxsize=4)  # noqa: B019 - a few days of one world, which live as long as it does
    def pools_on(self, day: int) -> Pools:
        """The day's tables."""
        pull = self.pull_on(day)
        tables: list[Indices] = []
        for tracks in self._of_genre:
            if len(tracks) and pull[tracks].sum() > 0:
                tables.append(tracks[lookup(pull[tracks], _power_of_two(16 * len(tracks)))])
            else:  # a genre without a track yet: anything
                tables.append(lookup(np.maximum(pull, 1e-9), _power_of_two(len(pull))))
        standing = (self.playlists.entry_from <= day) & (day < self.playlists.entry_to)
        in_playlist, in_track = self.playlists.entry_playlist[standing], self.playlists.entry_track[standing]
        for playlist, genre in enumerate(self.playlists.genre):
            tracks = in_track[in_playlist == playlist]
            tracks = tracks[pull[tracks] > 0]
            tables.append(tracks[lookup(np.sqrt(pull[tracks]), _PLAYLIST_TABLE)] if len(tracks) else tables[genre])
        sizes = np.array([len(table) for table in tables])
        return Pools(np.concatenate(tables).astype(np.int32), np.cumsum(sizes) - sizes, 32 - np.round(np.log2(sizes)).astype(np.int64))

    def hit_shares(self, day: int, clock: Clock) -> Floats:
        """The share of a day's plays that each planted hit takes beside its usual ones."""
        return np.array([_hit_share(day - clock.number_of(hit.happens_on), hit.peak_share) for hit in self.parameters.events.hits])

    def tracks_of(self, artist: int) -> Ints:
        """The tracks of an artist."""
        return np.flatnonzero(self.track_artist == artist)


def _hit_share(since: int, peak: float) -> float:
    """Nothing before the day, a third of the peak at once, all of it within ten days; then half is gone every 30 days."""
    if since < 0:
        return 0.0
    return float(peak * min(1.0, 0.33 + 0.067 * since) * 0.5 ** (max(0, since - 10) / 30))


def _power_of_two(least: int) -> int:
    return 1 << min(20, max(10, int(least - 1).bit_length()))


def _country_shares(parameters: WorldParameters) -> NDArray[np.float64]:
    shares = np.array([country.share for country in parameters.countries])
    return shares / shares.sum()  # type: ignore[no-any-return]


_NOUNS: Sequence[str] = (
    "Lantern", "River", "Ember", "Harbour", "Mirror", "Signal", "Orchard", "Paper", "Comet", "Velvet", "Copper",
    "Glass", "Winter", "Satellite", "Tiger", "Marble", "Thunder", "Garden", "Neon", "Shadow", "Canyon", "Feather",
    "Atlas", "Mercury", "Saffron", "Pavilion", "Cobalt", "Meridian", "Juniper", "Anchor", "Bloom", "Static"
)  # fmt: skip
_MOODS: Sequence[str] = (
    "Silent", "Golden", "Broken", "Distant", "Electric", "Hollow", "Crimson", "Slow", "Wild", "Gentle", "Burning",
    "Hidden", "Northern", "Last", "Bright", "Lost", "Midnight", "Tender", "Restless", "Blue", "Empty", "Sacred",
    "Quiet", "Falling", "Open", "Frozen", "Secret", "Early", "Heavy", "Crystal", "Faded", "Young"
)  # fmt: skip
_ENDINGS: Sequence[str] = (
    "", "", "", " Again", " in June", " (Live)", " at Dawn", " for Two", " & You", " No. 2", " Café", " Déjà Vu",
    " Rising", " Tonight", ", Part II", " 夜"
)  # fmt: skip


def titles(seed: int, place: str, count: int) -> list[str]:
    """Plain inventions, some with accents, quotes' neighbours and other scripts, because real titles have them."""
    drawn = words(dice(seed, "titles", place), count)
    mood, noun, ending = bits(drawn, 0, 5), bits(drawn, 5, 5), bits(drawn, 10, 4)
    return [f"{_MOODS[a]} {_NOUNS[b]}{_ENDINGS[c]}" for a, b, c in zip(mood.tolist(), noun.tolist(), ending.tolist(), strict=True)]


def names_of_artists(seed: int, count: int) -> list[str]:
    """Names of artists; a number keeps large catalogues apart."""
    drawn = words(dice(seed, "artists"), count)
    forms = ("The {0} {1}s", "{0} {1}", "{1} & the {0}s", "DJ {0} {1}", "{1} Ensemble {0}", "{0}{1}", "Ängel {1}", "{0} O'{1}")
    chosen = zip(bits(drawn, 0, 3).tolist(), bits(drawn, 3, 5).tolist(), bits(drawn, 8, 5).tolist(), strict=True)
    names = [forms[form].format(_MOODS[a], _NOUNS[b]) for form, a, b in chosen]
    seen: dict[str, int] = {}
    for n, name in enumerate(names):
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            names[n] = f"{name} {seen[name]}"
    return names
