"""What listeners do, as tables: plays, the advertisements between them, and what they save, share, follow and search."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from nocturne.simulator.clock import Clock
from nocturne.simulator.columns import hexadecimal, instants, micros, money, picked, table
from nocturne.simulator.listening import CONTEXTS, INTENTIONAL, REASONS, Block
from nocturne.simulator.parameters import WorldParameters
from nocturne.simulator.people import People
from nocturne.simulator.randomness import Ints, Words, bits, dice, mixed, words
from nocturne.simulator.reference import Reference
from nocturne.simulator.subscriptions import TIERS

_INTERACTIONS = ("save", "unsave", "share", "follow", "playlist_add", "thumbs_up", "thumbs_down", "search")
_CAMPAIGNS = ("spring-drive", "coffee-house", "city-tours", "phone-launch", "bank-young", "games-week")
_PLAYS_AN_ADVERT = 3


class Activity:
    """Turns blocks into tables in the catalogue's columns."""

    def __init__(self, parameters: WorldParameters, clock: Clock, people: People, reference: Reference) -> None:
        self.parameters, self.clock, self.people, self.reference = parameters, clock, people, reference
        self._countries = pa.array([country.code for country in parameters.countries])
        self._platforms = pa.array(list(parameters.platforms))
        self._tiers = pa.array([*TIERS, *dict.fromkeys(plan.tier for plan in parameters.plans)])

    def plays(self, block: Block) -> pa.Table:
        """The plays of a block. All columns of a session share one buffer of indices."""
        who = block.session_listener
        session = pa.array(block.session)

        def of_session(values: pa.Array) -> pa.DictionaryArray:
            return pa.DictionaryArray.from_arrays(session, values, safe=False)

        columns = {
            "play_id": hexadecimal(block.number),
            "played_at": instants(block.at_ms),
            "listener_id": of_session(self.reference.listener_ids.take(pa.array(who))),
            "track_id": picked(block.track, self.reference.track_ids),
            "ms_played": pa.array(block.ms_played),
            "session_id": of_session(hexadecimal(block.session_number)),
            "reason_end": picked(block.reason.astype(np.int8), REASONS),
            "context_type": of_session(pa.array(CONTEXTS).take(pa.array(block.session_context))),
            "context_id": of_session(self.reference.playlist_ids.take(_nullable(block.session_playlist))),
            "country": of_session(self._countries.take(pa.array(self.people.country[who]))),
            "platform": of_session(self._platforms.take(pa.array(block.session_platform))),
            "is_offline": of_session(pa.array(block.session_offline)),
        }
        if self.parameters.has_subscriptions:
            columns["tier"] = of_session(self._tiers.take(_nullable(block.session_tier)))
        return table("plays", len(block), columns)

    def ad_impressions(self, block: Block, day: int) -> pa.Table:
        """One advertisement before about every third play of those who listen free."""
        drawn = words(dice(self.parameters.seed, "adverts", day), len(block))
        shown = (
            (block.session_tier[block.session] <= 0) & (bits(drawn, 0, 16) % _PLAYS_AN_ADVERT == 0) & ~self.people.is_bot[block.listener]
        )
        kept, drawn = block.take(shown), drawn[shown]
        country = self.people.country[kept.listener]
        clicked = bits(drawn, 16, 16) < 500
        rates = np.array([c.rate for c in self.parameters.countries])[country]
        amount = self.parameters.ad_ecpm / 1000 / rates * (0.4 + 1.2 * bits(drawn, 32, 16) / 65_536) * np.where(clicked, 20, 1)
        columns = {
            "impression_id": hexadecimal(_kind(kept.number, 1)),
            "shown_at": instants(kept.at_ms),
            "listener_id": picked(kept.listener, self.reference.listener_ids),
            "campaign_id": picked(bits(drawn, 48, 16) % len(_CAMPAIGNS), _CAMPAIGNS),
            "revenue_amount": money(micros(amount, 6)),
            "currency": picked(country, [c.currency for c in self.parameters.countries]),
            "country": picked(country, self._countries),
            "is_clicked": pa.array(clicked),
        }
        return table("ad_impressions", len(kept), columns)

    def interactions(self, block: Block, day: int) -> pa.Table:
        """About five of a hundred heard plays lead to something; each session that a search opened holds that search."""
        drawn = words(dice(self.parameters.seed, "interactions", day), len(block))
        what = _interaction(block, bits(drawn, 0, 16))
        what[self.people.is_bot[block.listener]] = -1
        kept, what, drawn = block.take(what >= 0), what[what >= 0], drawn[what >= 0]
        is_search = what == _INTERACTIONS.index("search")
        about_artist = what == _INTERACTIONS.index("follow")
        artist = self.reference.catalogue.track_artist[kept.track]
        lists = len(self.reference.playlist_ids)
        added = what == _INTERACTIONS.index("playlist_add")
        who = kept.listener
        since = np.where(is_search, -bits(drawn, 16, 12), (kept.ms_played * bits(drawn, 16, 12)) >> 12)
        columns = {
            "interaction_id": hexadecimal(_kind(kept.number, 2)),
            "interacted_at": instants(np.minimum(kept.at_ms + since, self.clock.start_ms(day + 1) - 1)),
            "listener_id": picked(who, self.reference.listener_ids),
            "interaction": picked(what, _INTERACTIONS),
            "track_id": picked(np.where(is_search | about_artist, -1, kept.track), self.reference.track_ids),
            "artist_id": picked(np.where(about_artist, artist, -1), self.reference.artist_ids),
            "playlist_id": picked(np.where(added, bits(drawn, 28, 16) % lists, -1), self.reference.playlist_ids),
            "page": picked(np.where(is_search, 0, np.where(about_artist, 1, 2)), ["search", "artist", "player"]),
            "session_id": picked(kept.session, hexadecimal(kept.session_number)),
            "country": picked(self.people.country[who], self._countries),
            "platform": picked(kept.session_platform[kept.session], self._platforms),
        }
        return table("interactions", len(kept), columns)


def _interaction(block: Block, drawn: Ints) -> Ints:
    """What each play leads to; -1: nothing."""
    heard = block.ms_played >= 30_000
    chosen = block.session_context[block.session] < INTENTIONAL
    edges = np.array([0.018, 0.022, 0.027, 0.032, 0.042, 0.052]) * 65_536
    what = np.where(heard & (drawn < edges[-1] * np.where(chosen, 1.0, 0.6)), np.searchsorted(edges, drawn, side="right"), -1)
    what = np.where(what >= len(edges), -1, what)
    skipped = (block.ms_played < 5_000) & (drawn < 300)
    what = np.where(skipped, _INTERACTIONS.index("thumbs_down"), what)
    opens = np.r_[True, block.session[1:] != block.session[:-1]] if len(block) else np.empty(0, bool)
    searched = opens & (block.session_context[block.session] == CONTEXTS.index("search"))
    return np.where(searched, _INTERACTIONS.index("search"), what)


def _kind(numbers: Words, kind: int) -> Words:
    """The numbers of things that came of plays: as distinct as those of the plays."""
    return mixed(numbers ^ np.uint64(kind << 62))


def _nullable(index: Ints) -> pa.Array:
    return pa.array(index, mask=index < 0)
