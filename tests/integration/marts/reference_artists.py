"""The definitions of the domain `artists` once more, in plain Python: territories, audiences, growth, and whom to look at."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from datetime import date, timedelta

from tests.integration.marts.reference_content import Heard, Key, Table, grouped_by, known
from tests.integration.marts.world import Row

KEYS = {
    "artist_territory_days": ("artist_id", "played_on", "country"),
    "artist_facts": ("artist_id",),
    "artist_audience": ("artist_id", "dimension", "audience_group"),
    "artist_watchlist": ("artist_id",),
}
BANDS = ((18, "0-17"), (25, "18-24"), (35, "25-34"), (45, "35-44"), (55, "45-54"), (1000, "55+"))


def tables(heard: Heard) -> dict[str, Table]:
    """The marts of the domain that the tenant has."""
    if not heard.has("plays", "tracks"):
        return {}
    facts = _facts(heard)
    found = {"artist_territory_days": _territory_days(heard), "artist_facts": facts, "artist_watchlist": _watchlist(facts)}
    if heard.has("listeners"):
        found["artist_audience"] = _audience(heard)
    return found


def _streams(heard: Heard, artist: str, ago: int = 0, days: int = 28) -> list[Row]:
    """The artist's streams of so many days, which end so many days before the business day."""
    last = heard.today - timedelta(ago)
    first = last - timedelta(days - 1)
    return [p for p in heard.plays if p["artist_id"] == artist and p["is_stream"] and first <= p["played_on"] <= last]


def _people(plays: Iterable[Row]) -> set[str]:
    return {play["listener_key"] for play in plays}


def _territory_days(heard: Heard) -> Table:
    of_artists = (play for play in heard.plays if play["artist_id"] is not None)
    found: Table = {}
    for key, plays in grouped_by(of_artists, lambda play: (play["artist_id"], play["played_on"], play["country"] or "ZZ")).items():
        streams = [p for p in plays if p["is_stream"]]
        found[key] = {
            "play_count": len(plays),
            "stream_count": len(streams),
            "intentional_count": known(p["is_intentional"] for p in plays),
            "ms_played": sum(p["ms_played"] for p in plays),
            "listeners_1d": len(_people(streams)),
        }
    return found


def _facts(heard: Heard) -> Table:
    names = {row["artist_id"]: row for row in heard.rows.get("artists", [])}
    begins = heard.tenant.begins_on
    found: Table = {}
    for artist in names.keys() | {p["artist_id"] for p in heard.plays if p["is_stream"] and p["artist_id"]}:
        ever = [p for p in heard.plays if p["artist_id"] == artist and p["is_stream"]]
        now, before, week = _streams(heard, artist), _streams(heard, artist, 28), _streams(heard, artist, days=7)
        firsts = {who: min(p["played_on"] for p in ever if p["listener_key"] == who) for who in _people(ever)}
        new = {days: sum(0 <= (heard.today - on).days < days for on in firsts.values()) for days in (7, 28)}
        is_known = heard.today - timedelta(55) >= begins
        shared = _shares(heard, artist) if heard.has("interactions") else None
        growth = {
            "stream_growth_ratio": len(now) / len(before) - 1 if is_known and before and now else -1 if is_known and before else None,
            "listener_growth_ratio": len(_people(now)) / len(_people(before)) - 1 if is_known and before else None,
        }
        found[artist,] = (
            {
                "artist_name": names.get(artist, {}).get("artist_name"),
                "first_streamed_on": min((p["played_on"] for p in ever), default=None),
                "last_streamed_on": max((p["played_on"] for p in ever), default=None),
                "listener_count": len(firsts),
                "streams_28d": len(now),
                "listeners_28d": len(_people(now)),
                "streams_per_listener_28d": len(now) / len(_people(now)) if now else None,
                "streams_previous_28d": len(before) if is_known else None,
                "listeners_previous_28d": len(_people(before)) if is_known else None,
                "growth_unknown_because": None if is_known and before else "no_streams_before" if is_known else "before_first_delivery",
                "new_listeners_28d": new[28] if heard.today - timedelta(28) >= begins else None,
                "listeners_7d": len(_people(week)),
                "new_listeners_7d": new[7] if heard.today - timedelta(7) >= begins else None,
                "share_count_7d": shared,
            }
            | growth
            | {"virality_7d": _virality(shared, len(_people(week)), new[7]) if heard.today - timedelta(7) >= begins else None}
            | _segments(heard, ever, now)
            | _reach(now)
        )
    return found


def _shares(heard: Heard, artist: str) -> int:
    """Shares of the artist, or of a track of theirs where the share names no artist, in 7 days."""
    shares = [
        row for row in heard.rows["interactions"] if row["interaction"] == "share" and 0 <= (heard.today - row["interacted_on"]).days < 7
    ]
    return sum((row.get("artist_id") or heard.tracks.get(row.get("track_id") or "", {}).get("artist_id")) == artist for row in shares)


def _virality(shared: int | None, listeners: int, new: int) -> float | None:
    return shared / listeners * (new / shared) if shared and listeners else None


def _segments(heard: Heard, ever: list[Row], now: list[Row]) -> Row:
    intended = {p["listener_key"]: date.min for p in ever if p["is_intentional"]}
    for play in ever:
        if play["is_intentional"]:
            intended[play["listener_key"]] = max(intended[play["listener_key"]], play["played_on"])
    active = _people(p for p in now if p["is_intentional"])
    streams = Counter(p["listener_key"] for p in now)
    ordered = sorted((streams[who] for who in active), reverse=True)
    last = ordered[math.ceil(len(ordered) * 2 / 100) - 1] if ordered else 0
    best = {who for who in active if streams[who] >= max(last, 10)}
    moderate = {who for who in active - best if streams[who] >= 3}
    two_years_ago = heard.today.replace(year=heard.today.year - 2)
    previously = {who for who, on in intended.items() if two_years_ago < on <= heard.today - timedelta(28)}
    once = {who for who, on in intended.items() if two_years_ago < on <= heard.today}
    return {
        "active_count": len(active),
        "super_count": len(best),
        "moderate_count": len(moderate),
        "light_count": len(active - best - moderate),
        "previously_active_count": len(previously),
        "programmed_only_count": len(_people(now) - active - once),
    }


def _reach(now: list[Row]) -> Row:
    streams = Counter(p["country"] for p in now if p["country"])
    if not streams:
        return {"country_count_28d": 0, "top_country_28d": None, "top_country_share_ratio": None, "country_spread_28d": None}
    shares = {country: count / streams.total() for country, count in streams.items()}
    top = min(shares, key=lambda country: (-shares[country], country))
    spread = math.prod(share**-share for share in shares.values())
    return {
        "country_count_28d": len(shares),
        "top_country_28d": top,
        "top_country_share_ratio": shares[top],
        "country_spread_28d": spread,
    }


def _audience(heard: Heard) -> Table:
    accounts = {row["listener_key"]: row for row in heard.rows["listeners"]}
    found: Table = {}
    for artist in {p["artist_id"] for p in heard.plays if p["artist_id"]}:
        people = _people(_streams(heard, artist))
        for dimension in ("age_band", "gender", "country"):
            groups = Counter(_group(accounts.get(who, {}), dimension, heard.today) for who in people)
            hidden: list[str] = []
            for group in sorted(groups, key=lambda group: (groups[group], group)):
                together = sum(groups[one] for one in hidden)
                is_hidden = groups[group] < 5 or 0 < together < 5
                hidden += [group] * is_hidden
                found[artist, dimension, group] = {
                    "listeners_28d": None if is_hidden else groups[group],
                    "listener_ratio": None if is_hidden else groups[group] / len(people),
                    "is_suppressed": is_hidden,
                }
    return found


def _group(account: Row, dimension: str, today: date) -> str:
    if dimension != "age_band":
        return account.get(dimension) or "unknown"
    born = account.get("birth_year")
    return "unknown" if born is None else next(band for limit, band in BANDS if today.year - born < limit)


def _watchlist(facts: Table) -> Table:
    known = {key: row for key, row in facts.items() if row["listeners_28d"] >= 10 and row["listeners_previous_28d"] is not None}
    sizes = {
        key: "small" if row["listeners_28d"] < 100 else "medium" if row["listeners_28d"] < 1000 else "large" for key, row in known.items()
    }
    found: Table = {}
    for key, row in known.items():
        growth, listeners = row["listener_growth_ratio"], row["listeners_28d"]
        peers = [
            other["listener_growth_ratio"]
            for name, other in known.items()
            if name != key and sizes[name] == sizes[key] and other["listener_growth_ratio"] is not None
        ]
        place = None if growth is None else sum(peer < growth for peer in peers) / len(peers) if peers else 0.0
        reasons = {
            "is_breaking_out": row["listeners_previous_28d"] == 0,
            "is_fast_for_its_size": place is not None and place >= 0.9 and growth > 0,
            "is_gaining_listeners": row["new_listeners_28d"] >= listeners / 2,
            "is_chosen": row["active_count"] >= listeners / 2,
            "is_spreading": row["country_count_28d"] >= 3 and row["top_country_share_ratio"] <= 0.5,
        }
        if reasons["is_breaking_out"] or reasons["is_fast_for_its_size"]:
            told = {"size_class": sizes[key], "growth_rank_ratio": place, "listener_growth_ratio": growth, "listeners_28d": listeners}
            found[key] = told | reasons | {"reason_count": sum(reasons.values())}

    def order(key: Key) -> Key:
        row = found[key]
        growth = row["listener_growth_ratio"]
        return -row["reason_count"], -(math.inf if growth is None else growth), -row["listeners_28d"], key

    for rank, key in enumerate(sorted(found, key=order), 1):
        found[key]["watch_rank"] = rank
    return found
