"""Who plays what on a day: the hot path, numpy over whole days.

A block is what one received day brings: sessions (one row each) and plays that point to their session. A session that would run past
midnight began the evening before: it is delivered when it ends, so a day's delivery holds some plays of the day before.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from nocturne.simulator.catalogue import Catalogue, Pools
from nocturne.simulator.clock import DAY_MS, Clock
from nocturne.simulator.parameters import BotFarm, WorldParameters
from nocturne.simulator.people import People
from nocturne.simulator.randomness import Flags, Floats, Indices, Ints, Words, bits, dice, lookup, mixed, words

CONTEXTS = ("search", "library", "own_playlist", "artist", "album", "editorial_playlist", "algorithmic_playlist", "radio", "autoplay")
REASONS = ("track_done", "forward", "back", "stop", "track_change", "network", "error", "session_end")
INTENTIONAL = 5  # the first five contexts
_CONTEXT_SHARES = np.array([0.12, 0.2, 0.16, 0.07, 0.08, 0.12, 0.11, 0.06, 0.08])
_IMPATIENCE = np.array([1.0, 0.8, 0.8, 0.9, 0.75, 1.15, 1.2, 1.2, 1.15])
_DONE, _FORWARD, _BACK, _STOP, _CHANGE, _NETWORK, _ERROR, _SESSION_END = range(8)
_HOURS = np.array([8, 5, 3, 2, 2, 4, 10, 22, 32, 30, 26, 27, 33, 32, 28, 28, 32, 40, 44, 44, 46, 46, 38, 20], float)


@dataclass(frozen=True)
class Block:
    """Plays and their sessions. `play_*` arrays have one entry a play, `session` points into the `session_*` arrays."""

    session_listener: Ints
    session_tier: Ints
    session_context: Ints
    session_playlist: Ints  # -1: none
    session_platform: Ints
    session_offline: Flags
    session_number: Words
    session: Indices
    track: Indices
    at_ms: Ints
    ms_played: Ints
    reason: Ints
    number: Words  # distinct over the whole world

    def __len__(self) -> int:
        """Plays."""
        return len(self.track)

    @property
    def listener(self) -> Ints:
        """The listener of each play."""
        return self.session_listener[self.session]

    def take(self, rows: Ints | Flags) -> Block:
        """These plays only; the sessions stay."""
        return replace(self, **{name: getattr(self, name)[rows] for name in _OF_PLAYS})

    def alone(self) -> Block:
        """The same plays with no sessions but their own, so that a few plays do not hold a whole day's sessions in memory."""
        used, session = np.unique(self.session, return_inverse=True)
        own = {field.name: getattr(self, field.name)[used] for field in fields(self) if field.name.startswith("session_")}
        return replace(self, session=session.astype(np.int32), **own)

    @classmethod
    def joined(cls, blocks: list[Block]) -> Block:
        """One block of several."""
        if len(blocks) == 1:
            return blocks[0]
        sessions = np.cumsum([0, *(len(block.session_listener) for block in blocks)])
        moved = [replace(block, session=block.session + np.int32(by)) for block, by in zip(blocks, sessions[:-1], strict=True)]
        return cls(**{field.name: np.concatenate([getattr(block, field.name) for block in moved]) for field in fields(cls)})


_OF_PLAYS = ("session", "track", "at_ms", "ms_played", "reason", "number")


class Listening:
    """Makes the block of any received day from the seed, the tiers of that day and nothing else."""

    def __init__(self, parameters: WorldParameters, clock: Clock, catalogue: Catalogue, people: People) -> None:
        self.parameters, self.clock, self.catalogue, self.people = parameters, clock, catalogue, people
        self._context = lookup(_CONTEXT_SHARES, 256)
        self._length = _session_lengths(parameters.plays_a_session)
        self._second = _seconds_of_day()
        self._skip_ms = _skip_table()
        platforms = np.array(list(parameters.platforms.values()))
        self._platform = lookup(platforms, 256)
        self._playlists = self._playlists_by_genre()
        self.outages = [self._outage_ms(n) for n in range(len(parameters.events.outages))]

    # a day ---------------------------------------------------------------------------------------------------------------
    def on_time(self, day: int, tier: Ints) -> Block:
        """The sessions that end on a day. `tier` by listener: below 0 for those who are not there."""
        expected = self.people.intensity(day) * self.clock.season(day) * (tier >= 0)
        generator = dice(self.parameters.seed, "sessions", day)
        who = np.repeat(np.arange(self.people.count), generator.poisson(expected))
        return self._play(day, who, np.zeros(len(who), np.int64), tier[who], generator, kind=0)

    def late(self, day: int, tier: Ints) -> Block:
        """Sessions of the ten days before without a connection that are delivered on this day."""
        expected = self.people.intensity(day) * self.clock.season(day) * (tier >= 0) * self.parameters.damage.late
        generator = dice(self.parameters.seed, "late", day)
        who = np.repeat(np.arange(self.people.count), generator.poisson(expected))
        ago = 1 + np.minimum(9, generator.exponential(2.2, len(who))).astype(np.int64)
        known = (self.people.signed_up[who] < day - ago) & (ago <= day)
        return self._play(day, who[known], ago[known], tier[who[known]], generator, kind=1)

    def bots(self, day: int) -> Block | None:
        """What the bot farms play on a day, or None."""
        blocks = [self._farm(n, farm, day) for n, farm in enumerate(self.parameters.events.bot_farms)]
        there = [block for block in blocks if block is not None]
        return Block.joined(there) if there else None

    def expected(self, day: int, tier: Ints) -> float:
        """The mean number of plays that a received day brings (offline plays of the world's very first days, slightly too many)."""
        sessions = self.people.intensity(day)[tier >= 0].sum() * self.clock.season(day)
        farms = sum(len(block) for block in (self.bots(day),) if block is not None)
        return float(sessions * (1 + self.parameters.damage.late) * self._length.mean()) + farms

    def lost(self, block: Block) -> Flags:
        """Which plays fall into an outage."""
        out = np.zeros(len(block), bool)
        for begins, ends in self.outages:
            out |= (begins <= block.at_ms) & (block.at_ms < ends)
        return out

    def touches_outage(self, day: int) -> bool:
        """Whether a delivery of this day can hold a play that fell into an outage."""
        return any(0 <= day - self.clock.number_of(outage.happens_on) <= 11 for outage in self.parameters.events.outages)

    # its parts -----------------------------------------------------------------------------------------------------------
    def _play(self, day: int, who: Ints, ago: Ints, tier: Ints, generator: np.random.Generator, *, kind: int) -> Block:
        """The plays of sessions of `who`, `ago` days before `day`."""
        drawn = words(generator, len(who))
        length = self._length[bits(drawn, 0, 10)]
        context = self._context[bits(drawn, 10, 8)].astype(np.int64)
        platform = np.where(bits(drawn, 18, 6) < 48, self.people.platform[who], self._platform[bits(drawn, 24, 8)])
        fate = bits(drawn, 32, 8)
        genre = np.where(
            fate < 184, self.people.first_genre[who], np.where(fate < 236, self.people.second_genre[who], fate % len(self._playlists))
        )
        playlist = self._choose_playlists(context, genre, bits(drawn, 40, 8))
        pools = self.catalogue.pools_on(day)
        pool = np.where(playlist >= 0, len(self._playlists) + playlist, genre)
        session = np.repeat(np.arange(len(who), dtype=np.int32), length)
        first = np.cumsum(length) - length
        one, two = words(generator, len(session)), words(generator, len(session))
        track = self._choose_tracks(day, pools, who, context, pool, session, one, two)
        impatience = np.minimum(0.9, self.people.impatience(day)[who] * _IMPATIENCE[context])
        ms_played, reason = self._hear(track, session, impatience, one, two)
        last = first + length - 1
        ended = bits(two[last], 24, 8)
        reason[last] = np.where((reason[last] == _DONE) & (ended < 60), _SESSION_END, reason[last])
        begins = self._begin(day, who, ago, bits(drawn, 48, 16))
        pause = 300 + (bits(two, 32, 8) * 9) + np.where(bits(two, 40, 8) < 4, 45_000, 0)
        at_ms = self._place(day, ago, who, begins, session, first, last, ms_played + pause)
        return Block(
            session_listener=who,
            session_tier=tier,
            session_context=context,
            session_playlist=playlist,
            session_platform=platform.astype(np.int64),
            session_offline=ago > 0,
            session_number=numbers(8 + kind, day, len(who)),
            session=session,
            track=track,
            at_ms=at_ms,
            ms_played=ms_played,
            reason=reason,
            number=numbers(kind, day, len(session)),
        )

    def _choose_tracks(
        self, day: int, pools: Pools, who: Ints, context: Ints, pool: Ints, session: Indices, one: Words, two: Words
    ) -> Indices:
        """A track for each play: from the session's pool, near the listener's own place in it where the listener chose."""
        chosen = (context < INTENTIONAL) & (pool < len(self._playlists))
        width = np.where(chosen, np.uint64(1 << 29), np.uint64(1 << 32))
        place = np.where(chosen, self.people.place_in_taste[who], np.uint64(0))
        spread = ((one >> np.uint64(32)) * width[session]) >> np.uint64(32)
        at = (spread + place[session]) & np.uint64(0xFFFFFFFF)
        index = pools.offset[pool][session] + (at >> pools.shift[pool].astype(np.uint64)[session]).view(np.int64)
        track = pools.tracks[index]
        shares = self.catalogue.hit_shares(day, self.clock)
        if shares.any():
            drawn, edge = bits(two, 0, 16), 0
            for hit, share in zip(self.catalogue.hit_tracks, shares, strict=True):
                upper = edge + round(share * 65_536)
                track = np.where((edge <= drawn) & (drawn < upper), np.int32(hit), track)
                edge = upper
        return track

    def _hear(self, track: Indices, session: Indices, impatience: Floats, one: Words, two: Words) -> tuple[Ints, Ints]:
        """(ms_played, reason) of each play."""
        duration = self.catalogue.duration_ms[track]
        how = bits(one, 0, 16)
        skips = bits(one, 16, 16) < (impatience * 65_536).astype(np.int64)[session]
        skipped = np.minimum(self._skip_ms[how >> 4], duration * 19 // 20)
        cut = bits(two, 16, 8)
        reason = np.where(skips, _SKIP_REASON[cut], _END_REASON[cut])
        partly = (reason != _DONE) & ~skips
        ms_played = np.where(skips, skipped, np.where(partly, (duration * how) >> 16, duration))
        ms_played[(reason == _ERROR)] = 0
        return ms_played, reason

    def _begin(self, day: int, who: Ints, ago: Ints, drawn: Ints) -> Ints:
        """Milliseconds of each session's begin within its day, by the clocks of the listener's country."""
        local = self._second[drawn >> 4] + (drawn & 15) * 1_313
        begins: Ints = (local - self.people.hours_ahead[who] * 3_600_000) % DAY_MS
        return begins

    def _place(self, day: int, ago: Ints, who: Ints, begins: Ints, session: Indices, first: Ints, last: Ints, takes: Ints) -> Ints:
        """The instant of each play; a session that would pass midnight begins before the day, or (for a new listener) ends with it."""
        done = np.cumsum(takes)
        since = done - takes
        within = since - since[first][session]
        whole = done[last] - since[first]
        here = self.clock.start_ms(day - ago)
        length = self.clock.start_ms(day - ago + 1) - here
        begins = np.minimum(self.clock.passed_ms(day - ago, begins), length - 1)
        past = begins + whole > length
        old = (self.people.signed_up[who] < day - ago) & (day - ago > 0)
        start = here + np.where(past, np.where(old, -whole // 2, np.maximum(0, length - whole - 1)), begins)
        at_ms: Ints = np.minimum(start[session] + within, (here + length - 1)[session])
        return at_ms

    def _choose_playlists(self, context: Ints, genre: Ints, drawn: Ints) -> Ints:
        """The playlist that a session of a playlist's context plays, -1 for the others."""
        editorial, algorithmic = CONTEXTS.index("editorial_playlist"), CONTEXTS.index("algorithmic_playlist")
        of_genre = self._playlists[genre]
        return np.where(
            context == editorial, of_genre[np.arange(len(genre)), drawn & 1], np.where(context == algorithmic, of_genre[:, 2], -1)
        )

    def _playlists_by_genre(self) -> Ints:
        return np.arange(len(self.catalogue.playlists.genre)).reshape(len(self.catalogue.genres), -1)

    def _farm(self, number: int, farm: BotFarm, day: int) -> Block | None:
        if not self.clock.number_of(farm.from_on) <= day <= self.clock.number_of(farm.to_on):
            return None
        generator = dice(self.parameters.seed, "bots", number, day)
        who = np.flatnonzero(self.people.farm == number)
        session = np.repeat(np.arange(len(who), dtype=np.int32), farm.plays_a_day)
        drawn = words(generator, len(session))
        tracks = self.catalogue.tracks_of(self.catalogue.bot_artists[number])
        ms_played = np.minimum(31_000 + bits(drawn, 0, 12), self.catalogue.duration_ms[tracks].min())
        steps = self.clock.length_ms(day) // farm.plays_a_day
        at_ms = self.clock.start_ms(day) + np.tile(np.arange(farm.plays_a_day), len(who)) * steps + bits(drawn, 12, 10)
        return Block(
            session_listener=who,
            session_tier=np.zeros(len(who), np.int64),
            session_context=np.full(len(who), CONTEXTS.index("artist")),
            session_playlist=np.full(len(who), -1),
            session_platform=np.full(len(who), len(self.parameters.platforms) - 1),
            session_offline=np.zeros(len(who), bool),
            session_number=numbers(10, day, len(who), at=number << 20),
            session=session,
            track=tracks[bits(drawn, 22, 20) % len(tracks)].astype(np.int32),
            at_ms=at_ms,
            ms_played=ms_played,
            reason=np.full(len(session), _FORWARD),
            number=numbers(2, day, len(session), at=number << 32),
        )

    def _outage_ms(self, number: int) -> tuple[int, int]:
        outage = self.parameters.events.outages[number]
        zone = ZoneInfo(self.parameters.time_zone)
        midnight = datetime(outage.happens_on.year, outage.happens_on.month, outage.happens_on.day, tzinfo=zone)
        begins, ends = (midnight + timedelta(hours=hour) for hour in (outage.from_hour, outage.to_hour))
        return int(begins.timestamp() * 1000), int(ends.timestamp() * 1000)


_SKIP_REASON = np.where(np.arange(256) < 205, _FORWARD, np.where(np.arange(256) < 218, _BACK, _CHANGE)).astype(np.int64)
_END_REASON = np.full(256, _DONE)
_END_REASON[:7] = _STOP
_END_REASON[7:10] = _NETWORK
_END_REASON[10] = _ERROR


def numbers(kind: int, day: int, count: int, at: int = 0) -> Words:
    """Distinct numbers for the things of a kind and day; they look random."""
    first = (kind << 60) | ((day + 1_000) << 40) | at
    return mixed(np.arange(count, dtype=np.uint64) + np.uint64(first))


def _session_lengths(mean: float) -> Ints:
    """Plays of a session, by 10 random bits: a lognormal with this mean, at least 1, at most 60."""
    quantiles = (np.arange(1024) + 0.5) / 1024
    spread = 0.8
    shape = np.exp(spread * _normal_quantile(quantiles))
    lengths: Ints = np.clip(np.round(mean * shape / shape.mean()), 1, 60).astype(np.int64)
    return lengths


def _normal_quantile(p: Floats) -> Floats:
    from statistics import NormalDist

    return np.array([NormalDist().inv_cdf(value) for value in p.tolist()])


def _seconds_of_day() -> Ints:
    """Begin of a session in milliseconds of the day, by 12 random bits, in steps that 4 more bits fill."""
    hours = np.repeat(_HOURS, 4096 // 8)
    at = lookup(hours, 4096).astype(np.int64)
    return at * DAY_MS // len(hours)


def _skip_table() -> Ints:
    """Milliseconds heard of a skipped track, by 12 random bits: a third before 5 s, three quarters before 30 s."""
    p = (np.arange(4096) + 0.5) / 4096
    points = ([0, 0.34, 0.76, 0.93, 1.0], np.log([600, 5_000, 30_000, 100_000, 240_000]))
    return np.exp(np.interp(p, *points)).astype(np.int64)
