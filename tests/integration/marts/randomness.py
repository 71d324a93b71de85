"""Random worlds that keep to the places where definitions turn: thresholds, midnights, gaps of exactly the rule, changes of a rule."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from typing import Any

from nocturne.tenants import Tenant
from tests.integration.marts import randomness_operations, randomness_rights
from tests.integration.marts.randomness_acquisition import marketing, upset_marketing
from tests.integration.marts.world import Row, World, local

LENGTHS = (1, 4_999, 5_000, 29_999, 30_000, 30_001, 60_000, 89_999, 90_000, 180_000, 239_999, 240_000, 600_000)
DURATIONS = (20_000, 29_999, 30_000, 30_001, 100_000, 180_000, 600_000, None)
GAPS = (0, 29.999, 30, 30.001, 300, 1_799.999, 1_800, 1_800.001, 3_600, 40_000)
REASONS = ("track_done", "forward", "back", "stop", "network", "error", "session_end", None)
CONTEXTS = ("search", "album", "radio", "editorial_playlist", None)
COUNTRIES = ("FR", "DE", None)


class Randomness:
    """Rows of a world that are drawn, each with an identity of its own."""

    def __init__(self, seed: int, *, listeners: int = 4, tracks: int = 6) -> None:
        self.dice = random.Random(seed)
        self.listeners = [f"listener-{n}" for n in range(listeners)]
        self.tracks = [f"track-{n}" for n in range(tracks)]
        self._count = 0

    def name(self, kind: str) -> str:
        """A new identifier; its order is no order of time."""
        self._count += 1
        return f"{kind}-{self.dice.randrange(10**6):06}-{self._count}"

    def catalogue(self) -> dict[str, list[Row]]:
        """Tracks (the last one is missing), artists, rights, plans, rates, accounts."""
        dice = self.dice
        tracks = [self.track(track) for track in self.tracks[:-1]]
        artists = [{"artist_id": f"artist-{n}", "artist_name": f"Artist {n}"} for n in range(2)]
        rights = []
        for track in self.tracks[1:]:
            territory = dice.choice(("WW", "WW", "FR"))
            change = date(2026, 1, dice.randrange(2, 28))
            share = dice.choice((0.25, 0.5, 1.0))
            rights += [
                self.right(track, "holder-a", territory, share, date(2025, 1, 1), change),
                self.right(track, "holder-b", territory, share, change, None),
                *([self.right(track, "holder-c", "WW", 0.4, date(2025, 1, 1), None)] if territory == "FR" else []),
            ]
        plans = [
            self.plan("basic", "FR", 9.99, date(2020, 1, 1), date(2026, 1, 10)),
            self.plan("basic", "FR", 11.99, date(2026, 1, 10), None),
            self.plan("basic", "WW", 7.5, date(2020, 1, 1), None, currency="USD"),
            self.plan("yearly", "DE", 100.0, date(2020, 1, 1), None, billing_period="year"),
        ]
        rates = [{"currency": "USD", "rated_on": date(2026, 1, n), "rate": round(0.9 + n / 300, 4)} for n in (2, 9, 20)]
        accounts = [
            {"listener_key": key, "signed_up_at": local(f"2025-12-{20 + n}T23:30"), "country": COUNTRIES[n % 3], "channel": "search"}
            for n, key in enumerate(self.listeners)
        ]
        return {"tracks": tracks, "artists": artists, "rights": rights, "plans": plans, "fx_rates": rates, "listeners": accounts}

    def track(self, track: str) -> Row:
        """A recording of a telling length."""
        return {
            "track_id": track,
            "title": track.title(),
            "artist_id": self.dice.choice(("artist-0", "artist-1", None)),
            "duration_ms": self.dice.choice(DURATIONS),
            "genre": self.dice.choice(("pop", "jazz", None)),
            "released_on": self.dice.choice((date(2024, 7, 10), date(2024, 7, 20), None)),
            "release_id": ("release-0", "release-1", None)[self._count % 3],
        }

    def right(self, track: str, holder: str, territory: str, share: float, first: date, until: date | None) -> Row:
        """One holder's share."""
        own = {"holder_name": holder.title(), "share_ratio": share, "is_own": holder == "holder-a"}
        return {"track_id": track, "holder_id": holder, "territory": territory, "valid_from_on": first, "valid_to_on": until} | own

    def plan(self, plan: str, country: str, price: float, first: date, until: date | None, **more: Any) -> Row:
        """One price."""
        valid = {"valid_from_on": first, "valid_to_on": until}
        return (
            {"plan_id": plan, "country": country, "tier": plan, "billing_period": "month", "price_amount": price, "currency": "EUR"}
            | valid
            | more
        )

    def listening(self, tenant: Tenant, first: date, last: date, count: int) -> dict[str, list[Row]]:
        """About `count` plays and some interactions, in runs whose gaps are those of the rules, some over midnight."""
        plays: list[Row] = []
        interactions: list[Row] = []
        dice = self.dice
        zone = str(tenant.time_zone[0].value)
        while len(plays) < count:
            listener = dice.choice(self.listeners)
            day = first + timedelta(dice.randrange((last - first).days + 1))
            clock = dice.choice(("00:00:00", "01:30:00", "08:00:00", "12:34:56", "22:50:00", "23:45:00", "23:59:30"))
            at = local(f"{day}T{clock}", zone)
            track = dice.choice(self.tracks)
            for _ in range(dice.randrange(1, 7)):
                if dice.random() < 0.6:
                    track = dice.choice(self.tracks)
                length = 0 if dice.random() < 0.08 else dice.choice(LENGTHS)
                plays.append(self.play(listener, track, at, length))
                at += timedelta(milliseconds=length) + timedelta(seconds=dice.choice(GAPS))
                if dice.random() < 0.2:
                    interactions.append(self.interaction(listener, at))
                    at += timedelta(seconds=dice.choice(GAPS))
        if dice.random() < 0.5:
            plays += self.marathon(first, zone)
        return {"plays": plays, "interactions": interactions}

    def marathon(self, first: date, zone: str) -> list[Row]:
        """A chain of plays about a day long: one of them makes it longer than 24 hours, or does not."""
        at, listener = local(f"{first}T21:00", zone), self.dice.choice(self.listeners)
        end = at + timedelta(hours=24, milliseconds=self.dice.choice((-1, 0, 1)))
        found = []
        while at < end:
            length = min(timedelta(hours=3), end - at)
            found.append(self.play(listener, self.dice.choice(self.tracks), at, int(length / timedelta(milliseconds=1))))
            at += length
        return found

    def play(self, listener: str, track: str, at: datetime, length: int) -> Row:
        """One attempt."""
        dice = self.dice
        return {
            "play_id": self.name("play"),
            "listener_key": listener,
            "track_id": track,
            "played_at": at,
            "ms_played": length,
            "reason_end": dice.choice(REASONS),
            "context_type": dice.choice(CONTEXTS),
            "country": dice.choice(COUNTRIES),
            "platform": ("ios", "web", None)[self._count % 3],
            "is_estimated": dice.choice((True, False, None)),
        }

    def interaction(self, listener: str, at: datetime) -> Row:
        """Something done beside playing; now and then by nobody."""
        who = self.dice.choice((listener, listener, listener, None))
        what = {"interaction_id": self.name("act"), "listener_key": who, "interacted_at": at, "country": "FR"}
        told = {
            "interaction": ("save", "share", "unsave", "share")[self._count % 4],
            "track_id": (*self.tracks, None)[self._count % (len(self.tracks) + 1)],
        }
        return what | told | {"artist_id": ("artist-0", None, None)[self._count % 3]}

    def placements(self, first: date, last: date, count: int) -> dict[str, list[Row]]:
        """Playlists whose followers grow, and tracks that enter and leave them."""
        dice, playlists, changes = self.dice, [], []
        for n, kind in enumerate(("editorial", "algorithmic", "user")):
            since = first + timedelta(dice.randrange(10))
            own = {"playlist_id": f"list-{n}", "title": f"List {n}", "playlist_type": kind}
            playlists += [
                own | {"valid_from_on": since, "follower_count": dice.choice((10, None))},
                own | {"valid_from_on": since + timedelta(dice.randrange(1, 20)), "follower_count": 20},
            ]
        for _ in range(count):
            at = local(f"{first + timedelta(dice.randrange((last - first).days + 1))}T{dice.choice(('00:00', '23:59'))}")
            row = {"change_id": self.name("change"), "changed_at": at, "change": dice.choice(("added", "added", "removed"))}
            changes.append(row | {"playlist_id": f"list-{dice.randrange(4)}", "track_id": dice.choice(self.tracks)})
        return {"playlists": playlists, "playlist_tracks": changes}

    def money(self, first: date, last: date) -> dict[str, list[Row]]:
        """Lives of subscriptions with lapses around the grace, payments, impressions, statements."""
        dice = self.dice
        events: list[Row] = []
        for listener in self.listeners:
            for n in range(dice.randrange(0, 3)):
                events += self.subscription(listener, f"sub-{listener}-{n}", first - timedelta(dice.randrange(120)), last)
        span = (last - first).days + 1
        payments, impressions, statements = [], [], []
        for _ in range(12):
            on = first + timedelta(dice.randrange(span))
            at = datetime(on.year, on.month, on.day, dice.choice((0, 11, 22, 23)), 30, tzinfo=UTC)
            common = {"currency": dice.choice(("EUR", "USD", "GBP")), "country": dice.choice(COUNTRIES)}
            payments.append(
                {
                    "payment_id": self.name("pay"),
                    "paid_at": at,
                    "listener_key": dice.choice(self.listeners),
                    "status": dice.choice(("succeeded", "succeeded", "failed", "refunded")),
                    "amount": dice.choice((9.99, 0, 120)),
                    "tax_amount": dice.choice((1.67, None)),
                }
                | common
            )
            impressions.append({"impression_id": self.name("ad"), "shown_at": at, "revenue_amount": dice.choice((0.002, 0.0313))} | common)
            statements.append(
                {
                    "line_id": self.name("line"),
                    "statement_id": "s",
                    "period_ends_on": on,
                    "track_id": dice.choice(self.tracks),
                    "service": dice.choice(("one", None)),
                    "stream_count": dice.choice((10, 0, None)),
                    "net_amount": dice.choice((0.123456, -1, 20)),
                    "currency": common["currency"],
                }
            )
        return {"subscription_events": events, "payments": payments, "ad_impressions": impressions, "statements": statements}

    def subscription(self, listener: str, subscription: str, begins: date, last: date) -> list[Row]:
        """One life: maybe a trial, months or a year, changes of plan, failures, an end, a return some 30 days later."""
        dice, events, on = self.dice, [], begins

        def tell(kind: str, day: date, plan: str, **more: Any) -> None:
            at = datetime(day.year, day.month, day.day, 10, tzinfo=UTC) + timedelta(seconds=len(events))
            own = {"event_id": self.name("event"), "occurred_at": at, "listener_key": listener, "subscription_id": subscription}
            events.append(own | {"event_type": kind, "plan_id": plan} | more)

        plan = dice.choice(("basic", "basic", "yearly", "unknown"))
        kind = "started"
        if dice.random() < 0.4:
            tell("trial_started", on, plan, period_from_on=on, period_to_on=on + timedelta(14))
            on += timedelta(14 + dice.choice((0, 0, 2, 3, 4)))
            if dice.random() < 0.3:
                tell("ended", on, plan, end_reason="trial_not_converted")
                return events
        while on <= last:
            until = on + timedelta(dice.choice((28, 30, 31)))
            period = {} if dice.random() < 0.15 else {"period_from_on": on, "period_to_on": until}
            tell(kind, on, plan, **period)
            if dice.random() < 0.2:
                plan = dice.choice(("basic", "yearly"))
                tell("plan_changed", on + timedelta(dice.randrange(20)), plan)
            kind, on = "renewed", until
            luck = dice.random()
            if luck < 0.25:
                tell("auto_renew_off" if dice.random() < 0.5 else "payment_failed", until - timedelta(1), plan)
                if dice.random() < 0.7:
                    tell(
                        "ended",
                        until + timedelta(dice.choice((-5, 0, 3))),
                        plan,
                        end_reason=dice.choice(("voluntary", "payment_failure", None)),
                    )
                on, kind = until + timedelta(dice.choice((3, 29, 30, 31, 60))), "reactivated"
                if dice.random() < 0.4:
                    break
        return [event for event in events if event["occurred_at"].date() <= last]


def random_world(world: World, seed: int, first: date, last: date, *, plays: int = 60) -> Randomness:
    """Fill a world; what made it goes on making rows."""
    made = Randomness(seed)
    for dataset, rows in {**made.catalogue(), **made.listening(world.tenant, first, last, plays), **made.money(first, last)}.items():
        world.add(dataset, *rows)
    randomness_rights.fill(world, made.dice, first, last)
    for dataset, rows in made.placements(first, last, 12).items():
        world.add(dataset, *rows)
    marketing(world, made.dice, made.name, made.listeners, 12)
    randomness_operations.judge(world, first, last, 20)
    for number in range(12):
        randomness_operations.watch(world, last - timedelta(number))
    return made


def upset(world: World, made: Randomness, first: date, last: date) -> None:
    """Something of everything that reaches back: rows that come late, change, move to another instant or go; another catalogue, right, price."""
    dice = made.dice
    for dataset, rows in made.listening(world.tenant, first, last, dice.randrange(1, 12)).items():
        world.add(dataset, *rows)
    for dataset in ("plays", "interactions", "subscription_events", "payments", "ad_impressions", "statements"):
        rows = world.rows[dataset]
        for row in dice.sample(rows, min(len(rows), dice.randrange(0, 4))):
            rows.remove(row)
    plays = world.rows["plays"]
    for row in dice.sample(plays, min(len(plays), 4)):
        plays.remove(row)
        moved = {key: value for key, value in row.items() if key not in {"played_on", "received_on"}}
        moved["played_at"] += timedelta(seconds=dice.choice((-86_400, -1_800, -30, 30, 1_800, 86_400)))
        moved["ms_played"] = dice.choice((0, *LENGTHS))
        world.add("plays", moved)
    if dice.random() < 0.6:
        place = dice.randrange(len(world.rows["tracks"]))
        world.rows["tracks"][place] = world.complete("tracks", made.track(world.rows["tracks"][place]["track_id"]))
    if dice.random() < 0.4:
        right = dice.choice(world.rows["rights"])
        right |= {"share_ratio": dice.choice((0.1, 0.9)), "valid_from_on": right["valid_from_on"] + timedelta(dice.choice((0, 1)))}
    if dice.random() < 0.4:
        plan = dice.choice(world.rows["plans"])
        plan["price_amount"] += 1
    if dice.random() < 0.4:
        dice.choice(world.rows["fx_rates"])["rate"] += 0.01
    if dice.random() < 0.3:
        world.rows["listeners"][0]["country"] = dice.choice(COUNTRIES)
    randomness_rights.upset(world, dice, first, last)
    upset_playlists(world, made, first, last)
    upset_marketing(world, dice)
    marketing(world, dice, made.name, made.listeners, 3)
    randomness_operations.judge(world, first, last, 4)
    randomness_operations.watch(world, last)


def upset_playlists(world: World, made: Randomness, first: date, last: date) -> None:
    """Entries that come late or go, a playlist with other followers, a release with another day."""
    dice = made.dice
    world.add("playlist_tracks", *made.placements(first, last, dice.randrange(3))["playlist_tracks"])
    if dice.random() < 0.5:
        world.rows["playlist_tracks"].remove(dice.choice(world.rows["playlist_tracks"]))
    if dice.random() < 0.5:
        dice.choice(world.rows["playlists"])["follower_count"] = dice.choice((None, 30))
        dice.choice(world.rows["releases"])["released_on"] = dice.choice((None, first))
