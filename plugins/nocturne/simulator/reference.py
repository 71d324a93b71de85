"""The world's reference datasets: what stands on a day, and what changed on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.datasets import DATASETS
from nocturne.simulator.catalogue import ALWAYS, PLAYLIST_TYPES, Catalogue, names_of_artists, titles
from nocturne.simulator.clock import Clock
from nocturne.simulator.columns import dates, instants, numbered, picked, table
from nocturne.simulator.money import Prices, exchange_rates, plans_table
from nocturne.simulator.parameters import WorldParameters
from nocturne.simulator.people import CHANNELS, GENDERS, People
from nocturne.simulator.randomness import Floats, Ints, bits, dice, words
from nocturne.simulator.sounds import FEATURES, shown_features

_RELEASE_TYPES = ("single", "ep", "album")
_FIRST = (
    "Camille", "Noah", "Inès", "Jürgen", "Zoë", "Mateo", "Aiko", "Budi", "Siti", "Dewi", "Olga", "Kwame", "Amara",
    "Søren", "Łucja", "Chloé", "Rafael", "Priya", "Yusuf", "Hannah", "Ren", "Wayan", "Mary-Ann", "Seán", "Lucía",
    "Tomás", "Agus", "Putri", "Elif", "Ivan", "Grace", "Malik"
)  # fmt: skip
_LAST = (
    "Martin", "Dubois", "O'Neill", "García", "Schäfer", "Nakamura", "Santoso", "Wijaya", "Nowak", "Okafor", "Jensen",
    "Rossi", "van Dijk", "Kaya", "Smith", "Petrović", "Lefèvre", "Haddad", "Kim", "Silva", "Lindqvist", "Moreau",
    "Pratama", "Hartono", "Byrne", "Costa", "Novák", "Ito", "Diallo", "Weiss", "Young", "Sari"
)  # fmt: skip


@dataclass(frozen=True)
class Standing:
    """All rows that a reference dataset ever has, each with the day on which it appears and the day on which its validity is closed."""

    rows: pa.Table
    appears: Ints
    closes: Ints | None = None

    def as_of(self, day: int, clock: Clock) -> pa.Table:
        """What stands on a day; validity that ends later is still open."""
        return self._shown(np.flatnonzero(self.appears <= day), day, clock)

    def changed(self, day: int, clock: Clock) -> pa.Table:
        """What appeared or was closed on a day; on the world's first day all that stands."""
        if day == 0:
            return self.as_of(0, clock)
        fresh = self.appears == day
        return self._shown(np.flatnonzero(fresh if self.closes is None else fresh | (self.closes == day)), day, clock)

    def _shown(self, index: Ints, day: int, clock: Clock) -> pa.Table:
        rows = self.rows.take(pa.array(index))
        if self.closes is None:
            return rows
        closes = self.closes[index]
        at = rows.schema.get_field_index("valid_to_on")
        ends = dates(clock.dates(np.where(closes <= day, closes, 0)), closes <= day)
        return rows.set_column(at, rows.schema.field(at), ends)


class Reference:
    """Makes each reference dataset when it is first asked for, and keeps it."""

    def __init__(self, parameters: WorldParameters, clock: Clock, catalogue: Catalogue, people: People) -> None:
        self.parameters, self.clock, self.catalogue, self.people = parameters, clock, catalogue, people
        self._made: dict[str, Standing] = {}
        self._makers: Mapping[str, Callable[[], Standing]] = {
            "tracks": self._tracks,
            "artists": self._artists,
            "releases": self._releases,
            "playlists": self._playlists,
            "listeners": self._listeners,
            "plans": self._plans,
            "rights": self._rights,
            "fx_rates": self._fx_rates,
        }
        self.listener_ids = numbered(parameters.listener_prefix, np.arange(people.count) + 1, 7)
        self.track_ids = numbered(parameters.track_prefix, np.arange(len(catalogue.track_artist)) + 1, 6)
        self.artist_ids = numbered("a", np.arange(parameters.artists) + 1, 5)
        self.release_ids = numbered("r", np.arange(len(catalogue.releases.artist)) + 1, 6)
        self.playlist_ids = numbered("pl", np.arange(len(catalogue.playlists.genre)) + 1, 4)
        self.track_codes = numbered("ZZNOC", 2_600_000 + np.arange(len(catalogue.track_artist)), 7)

    @property
    def datasets(self) -> tuple[str, ...]:
        """What it makes."""
        return tuple(self._makers)

    def standing(self, dataset: str) -> Standing:
        """One reference dataset."""
        if dataset not in self._made:
            self._made[dataset] = self._makers[dataset]()
        return self._made[dataset]

    def _standing(self, dataset: str, columns: Mapping[str, pa.Array], appears: Ints, closes: Ints | None = None) -> Standing:
        assert DATASETS[dataset].kind == "reference"  # noqa: S101 - a slip here would be a wrong answer sheet, not a wrong input
        return Standing(table(dataset, len(appears), columns), appears, closes)

    def _tracks(self) -> Standing:
        catalogue = self.catalogue
        shown = shown_features(catalogue.hidden)
        columns = {
            "track_id": self.track_ids,
            "title": pa.array(titles(self.parameters.seed, "tracks", len(shown))),
            "artist_id": picked(catalogue.track_artist, self.artist_ids),
            "release_id": picked(catalogue.track_release, self.release_ids),
            "isrc": self.track_codes,
            "iswc": numbered("T", _with_check_digit(900_000_000 + np.arange(len(shown)), [1, 2, 3, 4, 5, 6, 7, 8, 9], start=1), 10),
            "duration_ms": pa.array(catalogue.duration_ms),
            "genre": picked(np.where(catalogue.track_shows_genre, catalogue.track_genre, -1), catalogue.genres),
            "released_on": dates(self.clock.dates(catalogue.track_released)),
            "is_explicit": pa.array(catalogue.is_explicit),
        } | {name: pa.array(np.ascontiguousarray(shown[:, n])) for n, name in enumerate(FEATURES)}
        return self._standing("tracks", columns, catalogue.track_released)

    def _artists(self) -> Standing:
        catalogue = self.catalogue
        first = np.full(self.parameters.artists, ALWAYS)
        np.minimum.at(first, catalogue.track_artist, catalogue.track_released)
        columns = {
            "artist_id": self.artist_ids,
            "artist_name": pa.array(names_of_artists(self.parameters.seed, self.parameters.artists)),
            "country": picked(catalogue.artist_country, [country.code for country in self.parameters.countries]),
            "genre": picked(np.where(catalogue.artist_shows_genre, catalogue.artist_genre, -1), catalogue.genres),
        }
        return self._standing("artists", columns, first)

    def _releases(self) -> Standing:
        releases = self.catalogue.releases
        count = len(releases.artist)
        columns = {
            "release_id": self.release_ids,
            "title": pa.array(titles(self.parameters.seed, "releases", count)),
            "artist_id": picked(releases.artist, self.artist_ids),
            "upc": numbered("", _with_check_digit(80_100_000_000 + np.arange(count), [1, 3] * 6), 13),
            "release_type": picked(releases.kind, _RELEASE_TYPES),
            "label": picked(self._holder_of_artist()[releases.artist], self.holder_names),
            "released_on": dates(self.clock.dates(releases.released)),
        }
        return self._standing("releases", columns, releases.released)

    def _playlists(self) -> Standing:
        """Followers are counted once a week."""
        playlists = self.catalogue.playlists
        weeks = np.arange(0, self.clock.days, 7)
        count = len(playlists.genre)
        growth = dice(self.parameters.seed, "followers").normal(0.006, 0.006, (count, len(weeks)))
        growth[:, 0] = 0
        followers = np.round(playlists.followers[:, None] * np.exp(np.cumsum(growth, axis=1))).astype(np.int64).ravel()
        who, since = np.repeat(np.arange(count), len(weeks)), np.tile(weeks, count)
        genres = [genre.replace("_", " ").title() for genre in self.catalogue.genres]
        forms = ("{0} Essentials", "Fresh {0}", "{0} Mix", "my {0} tapes")
        names = [forms[n % len(forms)].format(genres[genre]) for n, genre in enumerate(playlists.genre.tolist())]
        columns = {
            "playlist_id": picked(who, self.playlist_ids),
            "valid_from_on": dates(self.clock.dates(since)),
            "title": picked(who, names),
            "playlist_type": picked(playlists.kind[who], PLAYLIST_TYPES),
            "follower_count": pa.array(followers),
        }
        return self._standing("playlists", columns, since, np.where(since + 7 < self.clock.days, since + 7, ALWAYS))

    def _listeners(self) -> Standing:
        people = self.people
        first, last = bits(people.words, 1, 5), bits(people.words, 6, 5)
        given, family = picked(first, _FIRST).cast(pa.string()), picked(last, _LAST).cast(pa.string())
        columns = {
            "listener_id": self.listener_ids,
            "signed_up_at": instants(self.signed_up_ms()),
            "name": pc.binary_join_element_wise(given, family, " "),
            "email": pc.binary_join_element_wise("listener", numbered("", np.arange(people.count) + 1, 7), "@example.org", ""),
            "country": picked(people.country, [country.code for country in self.parameters.countries]),
            "birth_year": pa.array(people.birth_year),
            "gender": picked(people.gender, GENDERS),
            "channel": picked(people.channel, CHANNELS),
        }
        return self._standing("listeners", columns, people.signed_up)

    def signed_up_ms(self) -> Ints:
        """UTC milliseconds of each sign-up; those before the world's run-in count whole days back."""
        early = np.maximum(self.people.signed_up, -50)
        return self.clock.start_ms(early) - (early - self.people.signed_up) * 86_400_000 + self.people.signed_up_second * 1000

    def _plans(self) -> Standing:
        columns, since, until = plans_table(self.parameters, self.clock, Prices(self.parameters, self.clock))
        return self._standing("plans", columns, since, until)

    def _fx_rates(self) -> Standing:
        currencies, rates = exchange_rates(self.parameters)
        which, day = np.repeat(np.arange(len(currencies)), self.clock.days), np.tile(np.arange(self.clock.days), len(currencies))
        columns = {
            "currency": picked(which, pa.array(currencies, pa.string())),
            "rated_on": dates(self.clock.dates(day)),
            "rate": pa.array(rates.ravel()),
        }
        return self._standing("fx_rates", columns, day)

    # rights --------------------------------------------------------------------------------------------------------------
    @property
    def holder_names(self) -> list[str]:
        """The tenant's own name as a holder, then the others'."""
        others = [f"{title} Music" for title in titles(self.parameters.seed, "holders", self.parameters.holders)]
        return [self.parameters.holder_name, *others]

    def _holder_of_artist(self) -> Ints:
        """The main holder of each artist's recordings: 0 is the tenant itself, and holds all if it is a label."""
        if self.parameters.owns_rights:
            return np.zeros(self.parameters.artists, np.int64)
        weights = 1 / np.arange(1, self.parameters.holders + 1)
        drawn = dice(self.parameters.seed, "holder").choice(self.parameters.holders, self.parameters.artists, p=weights / weights.sum())
        return drawn.astype(np.int64) + 1

    def _rights(self) -> Standing:
        """Six artists in ten belong to their holder alone, the others share; some have other shares in one territory."""
        catalogue = self.catalogue
        drawn = words(dice(self.parameters.seed, "rights"), self.parameters.artists)
        main = self._holder_of_artist()
        partner = 1 + (main + bits(drawn, 0, 12)) % self.parameters.holders
        share = np.where(partner == main, 1.0, np.array([1, 1, 1, 1, 1, 1, 0.5, 0.5, 0.8, 0.75])[bits(drawn, 12, 12) % 10])
        apart = (bits(drawn, 24, 12) % 10 == 0) & (partner != main)
        territory = self.parameters.countries[min(1, len(self.parameters.countries) - 1)].code
        pieces = [("WW", main, share, share > 0), ("WW", partner, 1 - share, share < 1)]
        pieces += [(territory, main, np.full(len(main), 0.6), apart), (territory, partner, np.full(len(main), 0.4), apart)]
        chunks = [self._entitle(where, holder, part, there) for where, holder, part, there in pieces]
        track, place, holder, part, since = (np.concatenate(values) for values in zip(*chunks, strict=True))
        until = np.full(len(track), ALWAYS)
        for number, transfer in enumerate(self.parameters.events.rights_transfers):
            day = self.clock.number_of(transfer.happens_on)
            mine = (catalogue.track_artist[track] == self.transferred_artist(number)) & (holder == main[catalogue.track_artist[track]])
            mine &= (since < day) & (until == ALWAYS)
            until[mine] = day
            to = self.transferred_to(number)
            track, place, part = np.r_[track, track[mine]], np.r_[place, place[mine]], np.r_[part, part[mine]]
            holder, since = np.r_[holder, np.full(mine.sum(), to)], np.r_[since, np.full(mine.sum(), day)]
            until = np.r_[until, np.full(mine.sum(), ALWAYS)]
        columns = {
            "track_id": picked(track, self.track_ids),
            "holder_id": numbered("h", holder, 3),
            "territory": picked(place, ["WW", territory]),
            "valid_from_on": dates(self.clock.dates(since)),
            "holder_name": picked(holder, self.holder_names),
            "share_ratio": pa.array(np.round(part, 4)),
            "is_own": pa.array(holder == 0),
        }
        return self._standing("rights", columns, since, until)

    def _entitle(self, where: str, holder: Ints, part: Floats, there: np.ndarray) -> Sequence[np.ndarray]:
        catalogue = self.catalogue
        track = np.flatnonzero(there[catalogue.track_artist])
        artist = catalogue.track_artist[track]
        return track, np.full(len(track), int(where != "WW")), holder[artist], part[artist], catalogue.track_released[track]

    def transferred_artist(self, number: int) -> int:
        """The artist of a planted transfer of rights: one of much pull with several tracks by then, whom one holder has alone."""
        drawn = words(dice(self.parameters.seed, "rights"), self.parameters.artists)
        day = self.clock.number_of(self.parameters.events.rights_transfers[number].happens_on)
        has_old = np.bincount(self.catalogue.track_artist, self.catalogue.track_released < day) > 2
        alone = np.flatnonzero((bits(drawn, 12, 12) % 10 < 6) & has_old)
        order = alone[np.argsort(-self.catalogue.artist_pull[alone], kind="stable")]
        return int(order[(3 + number) % len(order)])

    def transferred_to(self, number: int) -> int:
        """The holder who takes over."""
        main = int(self._holder_of_artist()[self.transferred_artist(number)])
        return 1 + (main + number) % self.parameters.holders if self.parameters.holders > 1 else 1


def _with_check_digit(numbers: Ints, weights: Sequence[int], start: int = 0) -> Ints:
    """Numbers of as many digits as there are weights, and the digit that makes `start` and all digits so weighted end in 0."""
    places = 10 ** np.arange(len(weights) - 1, -1, -1)
    weighted = (numbers[:, None] // places % 10) @ np.array(weights)
    checked: Ints = numbers * 10 + -(start + weighted) % 10
    return checked
