"""The definitions of the metrics once more, in plain Python over plain rows: slow, obvious, and sharing nothing with the SQL.

`expected(world, business_day)` gives mart -> key -> {column: value} for everything that is a number or a verdict; columns that are copied
from the source are compared where they are easily had.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from tests.integration.marts import (
    reference_acquisition,
    reference_artists,
    reference_audience,
    reference_content,
    reference_engagement,
    reference_operations,
    reference_revenue,
    reference_rights,
    reference_subscriptions,
)
from tests.integration.marts.reference_content import grouped_by, known
from tests.integration.marts.world import Row, World

Key = tuple[Any, ...]
Table = dict[Key, Row]
INTENTIONAL = {"search", "library", "own_playlist", "artist", "album"}
PROGRAMMED = {"editorial_playlist", "algorithmic_playlist", "radio", "autoplay"}
USER_ENDS = {"forward", "back", "stop", "track_change"}
OPENINGS = {"trial_started", "started", "renewed", "plan_changed", "reactivated"}


def expected(world: World, business_day: date) -> dict[str, Table]:
    """All marts that the tenant has."""
    return Marts(world, business_day).all()


def money(value: Decimal | int) -> Decimal:
    return Decimal(value).quantize(Decimal("0.000001"), rounding=ROUND_HALF_UP)


@dataclass
class Event:
    kind: str
    id: str
    listener: str
    on: date
    start: datetime
    end: datetime
    row: Row
    session: str | None = None


@dataclass
class Session:
    listener: str
    events: list[Event]
    is_cut: bool
    chain_on: tuple[date, date]
    plays: list[Row] = field(default_factory=list)

    @property
    def start(self) -> datetime:
        return self.events[0].start


class Marts:
    """What was done, and every mart that follows from it."""

    def __init__(self, world: World, business_day: date) -> None:
        self.world, self.tenant, self.today = world, world.tenant, business_day
        self.rows = {name: list(world.rows.get(name, [])) for name in (d.name for d in world.tenant.datasets)}
        self.tracks = {row["track_id"]: row for row in self.rows.get("tracks", [])}
        self.sessions: list[Session] = []
        self.plays: list[Row] = []
        self.joined: list[Event] = []

    def rule(self, name: str, on: date) -> Any:
        return next(one.value for one in reversed(getattr(self.tenant.rules, name)) if one.since <= on)

    def has(self, *names: str) -> bool:
        return self.tenant.has(*names)

    def all(self) -> dict[str, Table]:
        found: dict[str, Table] = {}
        if self.has("plays"):
            self._listen()
            found |= {
                "plays": {(p["play_id"],): p for p in self.plays},
                "sessions": self._sessions(),
                "listener_days": self._listener_days(),
                "activity_days": self._activity_days(),
                "track_days": reference_engagement.track_days(self),
                "track_months": reference_engagement.track_months(self),
                "territory_curve_days": reference_engagement.territory_curve_days(self),
                "genre_days": self._grouped(lambda p: (p["genre"] or "unknown", p["played_on"])),
                "track_facts": self._track_facts(),
                "retention_weeks": self._retention(),
            }
            found |= reference_engagement.expected(self, found) | reference_audience.expected(self, found)
            if self.has("tracks"):
                found["artist_days"] = self._artist_days()
                found["artist_pairs"] = reference_audience.pairs(self)
            if self.has("listeners"):
                found["listener_facts"] = self._listener_facts()
            if self.has("rights"):
                found["holder_days"] = self._holder_days()
        if self.has("subscription_events", "plans"):
            found["subscription_periods"] = self.periods()
            found["mrr_days"] = self._mrr(found["subscription_periods"])
            found |= self._subscribing(found).all()
        if self.has("payments", "subscription_events", "plans"):
            periods = list(found["subscription_periods"].values())
            found["payer_cohorts"] = reference_subscriptions.payer_cohorts(self.rows["payments"], periods, self.today)
        if self.has("touchpoints", "listeners", "subscription_events", "plans"):
            found |= self._acquisition(list(found["subscription_periods"].values()))
        if self.has("payments") or self.has("ad_impressions"):
            found["revenue_days"] = self._revenue()
            subscribing = self._subscribing(found) if self.has("subscription_events", "plans") else None
            found |= reference_revenue.Revenue(self.rows, self.rate, subscribing).all()
        if self.has("statements"):
            found["statement_months"] = self._statements()
        found["reconciliation_days"] = self._counts()
        found |= reference_artists.tables(self)
        found |= reference_content.tables(self, [on for (on,) in found.get("activity_days", {})])
        found |= reference_operations.tables(self, found)
        found |= reference_rights.tables(self)
        return found

    # listening -----------------------------------------------------------------------------------------------------------
    def _listen(self) -> None:
        events: dict[str, list[Event]] = defaultdict(list)
        for row in self.rows["plays"]:
            if row["ms_played"] > 0:
                end = row["played_at"] + timedelta(milliseconds=row["ms_played"])
                events[row["listener_key"]].append(
                    Event("play", row["play_id"], row["listener_key"], row["played_on"], row["played_at"], end, row)
                )
        for row in self.rows.get("interactions", []):
            if row.get("listener_key"):
                at = row["interacted_at"]
                events[row["listener_key"]].append(
                    Event("interaction", row["interaction_id"], row["listener_key"], row["interacted_on"], at, at, row)
                )
        for listener, heard in sorted(events.items()):
            for chain in self._chains(sorted(heard, key=lambda e: (e.start, e.kind, e.id))):
                self._cut(listener, chain)
        for session in self.sessions:
            self._join(session)

    def _chains(self, events: list[Event]) -> list[list[Event]]:
        chains: list[list[Event]] = []
        latest: datetime | None = None
        for event in events:
            gap = timedelta(seconds=self.rule("session_gap_seconds", event.on))
            if latest is None or event.start - latest > gap:
                chains.append([])
            chains[-1].append(event)
            latest = max(latest, event.end) if latest else event.end
        return chains

    def _cut(self, listener: str, chain: list[Event]) -> None:
        on = chain[0].on, max(event.on for event in chain)
        is_long = max(event.end for event in chain) - chain[0].start > timedelta(hours=24)
        pieces: dict[Any, list[Event]] = defaultdict(list)
        for event in chain:
            pieces[event.on if is_long else None].append(event)
        self.sessions += [Session(listener, piece, is_long, on) for piece in pieces.values()]

    def _join(self, session: Session) -> None:
        """Join resumes within one session, and judge what comes of it."""
        last: dict[str, Event] = {}
        parts: dict[str, list[Event]] = {}
        begun: dict[str, str] = {}
        for event in (event for event in session.events if event.kind == "play"):
            track = event.row["track_id"]
            before = last.get(track)
            if before and self._goes_on(before, event):
                parts[begun[track]].append(event)
                self.joined.append(event)
            else:
                begun[track] = event.id
                parts[event.id] = [event]
            last[track] = event
        for play_parts in parts.values():
            play = self._judge(play_parts)
            self.plays.append(play)
            session.plays.append(play)

    def _goes_on(self, before: Event, event: Event) -> bool:
        duration = self.tracks.get(event.row["track_id"], {}).get("duration_ms")
        was_finished = before.row.get("reason_end") == "track_done" or (duration is not None and before.row["ms_played"] >= duration)
        gap = timedelta(seconds=self.rule("resume_gap_seconds", event.on))
        return not was_finished and abs(event.start - before.end) <= gap

    def _judge(self, parts: list[Event]) -> Row:
        first, final = parts[0].row, parts[-1].row
        track = self.tracks.get(first["track_id"], {})
        duration, ms, on = track.get("duration_ms"), sum(p.row["ms_played"] for p in parts), first["played_on"]
        least, rate = self.rule("stream_min_ms", on), Decimal(str(self.rule("complete_rate", on)))
        is_completed = None if duration is None else min(ms, duration) >= rate * duration
        if duration is not None and duration < least:
            is_stream = bool(is_completed)
        else:
            is_stream = ms > least if self.rule("stream_rule", on) == "gt" else ms >= least
        reason = final.get("reason_end")
        is_skip = None if reason is None else reason in USER_ENDS and (duration is None or ms < duration)
        bucket = ("before_5s" if ms < 5_000 else "before_30s" if ms < 30_000 else "before_end") if is_skip else None
        context = first.get("context_type")
        scrobbles = None if duration is None else duration > 30_000 and (ms >= 240_000 or 2 * ms >= duration)
        return {
            "play_id": first["play_id"],
            "listener_key": first["listener_key"],
            "track_id": first["track_id"],
            "artist_id": track.get("artist_id"),
            "genre": track.get("genre"),
            "played_at": parts[0].start,
            "ended_at": max(p.end for p in parts),
            "played_on": on,
            "ms_played": ms,
            "resume_count": len(parts) - 1,
            "is_stream": is_stream,
            "is_completed": is_completed,
            "tenths_heard": 10 * min(ms, duration) // duration if duration else None,
            "is_skip": is_skip,
            "skip_bucket": bucket,
            "is_scrobble": scrobbles,
            "context_type": context,
            "is_intentional": True if context in INTENTIONAL else False if context in PROGRAMMED else None,
            "country": first.get("country"),
            "platform": first.get("platform"),
            "tier": first.get("tier"),
            "reason_end": reason,
            "is_offline": bool(first.get("is_offline")),
            "is_estimated": any(p.row.get("is_estimated") for p in parts),
            "received_on": max(p.row["received_on"] for p in parts),
        }

    def _sessions(self) -> Table:
        found: Table = {}
        for session in self.sessions:
            end = max(event.end for event in session.events)
            found[session.listener, session.start] = {
                "ended_at": end,
                "started_on": session.events[0].on,
                "play_count": len(session.plays),
                "stream_count": sum(p["is_stream"] for p in session.plays),
                "skip_count": known(p["is_skip"] for p in session.plays),
                "track_count": len({p["track_id"] for p in session.plays}),
                "interaction_count": sum(event.kind == "interaction" for event in session.events),
                "ms_played": sum(p["ms_played"] for p in session.plays),
                "duration_seconds": (end - session.start).total_seconds(),
                "is_cut": session.is_cut,
                "chain_started_on": session.chain_on[0],
                "chain_ended_on": session.chain_on[1],
                "country": next((e.row["country"] for e in session.events if e.row.get("country")), None),
                "platform": next((e.row["platform"] for e in session.events if e.row.get("platform")), None),
                "context_path": reference_engagement.path(session),
            }
        return found

    def _listener_days(self) -> Table:
        played, begun = defaultdict(list), defaultdict(int)
        for play in self.plays:
            played[play["listener_key"], play["played_on"]].append(play)
        for session in self.sessions:
            begun[session.listener, session.events[0].on] += 1
        found: Table = {}
        for key in played.keys() | begun.keys():
            plays = sorted(played[key], key=lambda p: (p["played_at"], p["play_id"]))
            found[key] = self._sums(plays) | {
                "intentional_count": known(p["is_intentional"] for p in plays),
                "completed_count": known(p["is_completed"] for p in plays),
                "track_count": len({p["track_id"] for p in plays}),
                "artist_count": len({p["artist_id"] for p in plays} - {None}),
                "session_count": begun[key],
                "country": next((p["country"] for p in plays if p["country"]), None),
            }
        return found

    def _sums(self, plays: list[Row]) -> Row:
        return {
            "play_count": len(plays),
            "stream_count": sum(p["is_stream"] for p in plays),
            "skip_count": known(p["is_skip"] for p in plays),
            "ms_played": sum(p["ms_played"] for p in plays),
        }

    def _listeners(self, last: date, days: int, keep: Callable[[Row], bool] = lambda p: True) -> set[str]:
        first = last - timedelta(days - 1)
        return {p["listener_key"] for p in self.plays if p["is_stream"] and first <= p["played_on"] <= last and keep(p)}

    def _first_streams(self) -> dict[str, date]:
        firsts: dict[str, date] = {}
        for play in self.plays:
            if play["is_stream"]:
                firsts[play["listener_key"]] = min(firsts.get(play["listener_key"], date.max), play["played_on"])
        return firsts

    def _activity_days(self) -> Table:
        span = (self.today - self.tenant.begins_on).days + 1
        begun = [session.events[0].on for session in self.sessions]
        days = {self.tenant.begins_on + timedelta(n) for n in range(span)} | {p["played_on"] for p in self.plays} | set(begun)
        firsts = list(self._first_streams().values())
        found: Table = {}
        for on in days:
            plays = [p for p in self.plays if p["played_on"] == on]
            sums = self._sums(plays)
            completed = known(p["is_completed"] for p in plays)
            monthly = len(self._listeners(on, 28))
            mean = sum(len(self._listeners(on - timedelta(n), 1)) for n in range(28)) / 28
            is_whole = on - timedelta(27) >= self.tenant.begins_on
            found[on,] = {
                "play_count": sums["play_count"],
                "stream_count": sums["stream_count"],
                "skip_count": sums["skip_count"],
                "completed_count": completed,
                "intentional_count": known(p["is_intentional"] for p in plays),
                "session_count": begun.count(on),
                "play_time_ms": sums["ms_played"],
                "listeners_1d": len(self._listeners(on, 1)),
                "listeners_7d": len(self._listeners(on, 7)),
                "listeners_28d": monthly,
                "listeners_mtd": len(self._listeners(on, on.day)),
                "new_listener_count": firsts.count(on),
                "skip_ratio": None if sums["skip_count"] is None else sums["skip_count"] / len(plays),
                "completion_ratio": None if completed is None else completed / len(plays),
                "stickiness_ratio": mean / monthly if monthly and is_whole else None,
                "is_final": (self.today - on).days >= self.rule("final_after_days", on),
            }
        return found

    def _grouped(self, key: Callable[[Row], Key], *, keep: Callable[[Row], bool] = lambda p: True) -> Table:
        return {
            group: self._sums(plays) | {"listeners_1d": len({p["listener_key"] for p in plays if p["is_stream"]})}
            for group, plays in grouped_by(filter(keep, self.plays), key).items()
        }

    def _artist_days(self) -> Table:
        found = self._grouped(lambda p: (p["artist_id"], p["played_on"]), keep=lambda p: p["artist_id"] is not None)
        for (artist, on), numbers in found.items():
            numbers["listeners_28d"] = len(self._listeners(on, 28, lambda p, artist=artist: p["artist_id"] == artist))  # type: ignore[misc]
        return found

    def _track_facts(self) -> Table:
        names = {row["artist_id"]: row["artist_name"] for row in self.rows.get("artists", [])}
        found: Table = {}
        for track in self.tracks.keys() | {p["track_id"] for p in self.plays}:
            row = self.tracks.get(track, {})
            streams = [p["played_on"] for p in self.plays if p["track_id"] == track and p["is_stream"]]
            released = row.get("released_on")
            found[track,] = {
                "title": row.get("title"),
                "artist_name": names.get(row.get("artist_id")),
                "is_catalogue": None if released is None else _months_after(released, 18) < self.today,
                "play_count": sum(p["track_id"] == track for p in self.plays),
                "stream_count": len(streams),
                "first_streamed_on": min(streams, default=None),
                "last_streamed_on": max(streams, default=None),
                "streams_28d": sum(self.today - timedelta(28) < on <= self.today for on in streams),
                **reference_content.momentum(self, track),
            }
        return found

    def _listener_facts(self) -> Table:
        accounts = {row["listener_key"]: row for row in self.rows["listeners"]}
        heard = {event.listener for session in self.sessions for event in session.events}
        found: Table = {}
        for listener in accounts.keys() | heard:
            row = accounts.get(listener, {})
            plays = [p for p in self.plays if p["listener_key"] == listener]
            streams = [p["played_on"] for p in plays if p["is_stream"]]
            signed_up = row.get("signed_up_at")
            found[listener,] = {
                "country": row.get("country"),
                "channel": row.get("channel"),
                "signed_up_on": signed_up and signed_up.astimezone(self.tenant.zone_at(signed_up)).date(),
                "first_streamed_on": min(streams, default=None),
                "last_streamed_on": max(streams, default=None),
                "play_count": len(plays),
                "stream_count": len(streams),
                "ms_played": sum(p["ms_played"] for p in plays),
                "session_count": sum(session.listener == listener for session in self.sessions),
                "active_day_count": len(set(streams)),
                "streams_28d": sum(self.today - timedelta(28) < on <= self.today for on in streams),
            }
        for key, row in reference_audience.segments(self).items():
            found[key] |= row
        return found

    def week_of(self, on: date) -> date:
        return on - timedelta((on.weekday() + (self.tenant.week_start == "sunday")) % 7)

    def _retention(self) -> Table:
        firsts = self._first_streams()
        active = {(p["listener_key"], self.week_of(p["played_on"])) for p in self.plays if p["is_stream"]}
        found: Table = {}
        for cohort in {self.week_of(on) for on in firsts.values()}:
            members = {listener for listener, on in firsts.items() if self.week_of(on) == cohort}
            for week in itertools.count():
                begins = cohort + timedelta(7 * week)
                if begins > self.today:
                    break
                retained = sum((listener, begins) in active for listener in members)
                is_over = begins + timedelta(6) <= self.today
                found[cohort, week] = {
                    "listener_count": len(members),
                    "retained_count": retained if is_over else None,
                    "retention_ratio": retained / len(members) if is_over else None,
                }
        return found

    def _holder_days(self) -> Table:
        shares: dict[Key, Decimal] = defaultdict(Decimal)
        totals: dict[date, int] = defaultdict(int)
        for play in self.plays:
            if not play["is_stream"]:
                continue
            on, country = play["played_on"], play["country"] or "ZZ"
            totals[on] += 1
            valid = [
                right
                for right in self.rows["rights"]
                if right["track_id"] == play["track_id"] and right["valid_from_on"] <= on < (right.get("valid_to_on") or date.max)
            ]
            of_country = [right for right in valid if right["territory"] == country]
            rest = Decimal(1)
            for right in of_country or [right for right in valid if right["territory"] == "WW"]:
                share = Decimal(str(right["share_ratio"]))
                shares[right["holder_id"], on] += share
                rest -= share
            if rest:
                shares["(unassigned)", on] += rest
        found: Table = {}
        for (holder, on), streams in shares.items():
            ratio = (streams / totals[on]).quantize(Decimal("0.000000001"), rounding=ROUND_HALF_UP)
            found[holder, on] = {"stream_count": money(streams), "market_share_ratio": ratio if self.tenant.sees_whole_market else None}
        return found

    # money ---------------------------------------------------------------------------------------------------------------
    def rate(self, currency: str, on: date) -> Decimal | None:
        if currency == self.tenant.currency:
            return Decimal(1)
        rates = [row for row in self.rows.get("fx_rates", []) if row["currency"] == currency and row["rated_on"] <= on]
        return Decimal(str(max(rates, key=lambda row: row["rated_on"])["rate"])) if rates else None

    def periods(self) -> Table:
        found: Table = {}
        lives: dict[str, list[Row]] = defaultdict(list)
        for row in self.rows["subscription_events"]:
            lives[row["subscription_id"]].append(row)
        for life in lives.values():
            for period in self._periods_of(sorted(life, key=lambda row: (row["occurred_at"], row["event_id"]))):
                found[period["subscription_id"], period["period_from_on"]] = period
        for period in found.values():
            self._settle(period, list(found.values()))
        return found

    def _periods_of(self, life: list[Row]) -> list[Row]:
        periods: dict[date, Row] = {}
        current: Row | None = None
        term: Row | None = None
        for event in life:
            if event["event_type"] not in OPENINGS:
                if current is not None:
                    current["after"].append(event)
                continue
            if event["event_type"] != "plan_changed" or term is None:
                term = event
            begins = event.get("period_from_on") or event["occurred_on"]
            current = {"event": event, "term": term, "after": [], "from": begins}
            periods[begins] = current
        ordered = [periods[on] for on in sorted(periods)]
        found = []
        for period, following in itertools.zip_longest(ordered, ordered[1:]):
            one = self._period(period, following["from"] if following else None)
            if one["period_to_on"] > one["period_from_on"]:
                found.append(one)
        return found

    def _period(self, period: Row, next_from: date | None) -> Row:
        event, begins = period["event"], period["from"]
        listener = next((row for row in self.rows.get("listeners", []) if row["listener_key"] == event["listener_key"]), {})
        plan = self.plan(event["plan_id"], listener.get("country"), begins)
        announced = event.get("period_to_on")
        if announced is None and event["event_type"] == "plan_changed":
            announced = period["term"].get("period_to_on")
        if announced is None:
            announced = _months_after(begins, 12 if plan and plan["billing_period"] == "year" else 1)
        ended = [row for row in period["after"] if row["event_type"] == "ended"]
        ends = [announced] + ([next_from] if next_from else []) + ([max(ended[0]["occurred_on"] + timedelta(1), begins)] if ended else [])
        is_trial = period["term"]["event_type"] == "trial_started"
        rate = self.rate(plan["currency"], begins) if plan else None
        price = (
            None if plan is None or rate is None else Decimal(plan["price_amount"]) * rate / (12 if plan["billing_period"] == "year" else 1)
        )
        types = {row["event_type"] for row in period["after"]}
        return {
            "subscription_id": event["subscription_id"],
            "period_from_on": begins,
            "period_to_on": min(ends),
            "listener_key": event["listener_key"],
            "plan_id": event["plan_id"],
            "kind": "trial" if is_trial else "paid",
            "mrr_amount": money(0) if is_trial else None if price is None else money(price),
            "is_auto_renew_off": "auto_renew_off" in types,
            "auto_renew_off_on": min(
                (row["occurred_on"] for row in period["after"] if row["event_type"] == "auto_renew_off"), default=None
            ),
            "tier": plan["tier"] if plan else None,
            "opened_by": event["event_type"],
            "opened_at": event["occurred_at"],
            "opened_on": event["occurred_on"],
            "_reason": (ended[0].get("end_reason") if ended else None, "auto_renew_off" in types, "payment_failed" in types),
        }

    def plan(self, plan_id: str, country: str | None, on: date) -> Row | None:
        valid = [
            row
            for row in self.rows["plans"]
            if row["plan_id"] == plan_id and row["valid_from_on"] <= on < (row.get("valid_to_on") or date.max)
        ]
        return min(valid, key=lambda row: (row["country"] != country, row["country"] != "WW", row["country"]), default=None)

    def _settle(self, period: Row, everything: list[Row]) -> None:
        paid = [p for p in everything if p["kind"] == "paid" and p["listener_key"] == period["listener_key"] and p is not period]
        begins, ends = period["period_from_on"], period["period_to_on"]
        ended, is_off, has_failed = period.pop("_reason")
        churned, reason, converted = None, None, None
        if period["kind"] == "trial":
            due = begins + timedelta(self.rule("trial_days", begins) + self.rule("grace_days", begins))
            if due <= self.today:
                converted = any(begins <= p["period_from_on"] <= due for p in paid)
        else:
            due = ends + timedelta(self.rule("churn_grace_days", ends))
            if due <= self.today and not any(p["period_from_on"] <= due and p["period_to_on"] > ends for p in paid):
                churned = ends
                told = ended if ended in {"voluntary", "payment_failure"} else None
                reason = told or ("voluntary" if is_off else "payment_failure" if has_failed else "unknown")
        period |= {
            "churned_on": churned,
            "churn_reason": reason,
            "is_converted": converted,
            "settles_on": due,
            "is_settled": due <= self.today,
        }

    def _mrr(self, periods: Table) -> Table:
        paid = [p for p in periods.values() if p["kind"] == "paid" and p["mrr_amount"]]
        if not paid:
            return {}
        listeners = sorted({p["listener_key"] for p in paid})
        churns = {(p["listener_key"], p["churned_on"]) for p in paid if p["churned_on"]}
        found: Table = {}
        first = min(p["period_from_on"] for p in paid)
        before: dict[str, Decimal] = dict.fromkeys(listeners, Decimal(0))
        ended_on: dict[str, date] = {}
        for n in range((self.today - first).days + 1):
            on = first + timedelta(n)
            moved = dict.fromkeys(("new", "expansion", "contraction", "churn", "reactivation"), Decimal(0))
            counts = dict.fromkeys(("new", "churned", "reactivated", "lapsed", "returned"), 0)
            opening = sum(before.values())
            for listener in listeners:
                now = sum(
                    (p["mrr_amount"] for p in paid if p["listener_key"] == listener and p["period_from_on"] <= on < p["period_to_on"]),
                    Decimal(0),
                )
                was, step = before[listener], now - before[listener]
                if was == 0 and now > 0:
                    left = ended_on.get(listener)
                    if left is None:
                        name, count = "new", "new"
                    elif (on - left).days <= self.rule("churn_grace_days", left):
                        name, count = "expansion", "returned"
                    else:
                        name, count = "reactivation", "reactivated"
                    counts[count] += 1
                elif was > 0 and now == 0:
                    is_churn = (listener, on) in churns
                    name = "churn" if is_churn else "contraction"
                    counts["churned" if is_churn else "lapsed"] += 1
                    ended_on[listener] = on
                else:
                    name = "expansion" if step > 0 else "contraction"
                moved[name] += abs(step)
                before[listener] = now
            closing = sum(before.values())
            assert opening + moved["new"] + moved["expansion"] - moved["contraction"] - moved["churn"] + moved["reactivation"] == closing
            payers = sum(level > 0 for level in before.values())
            found[on,] = (
                {"opening_amount": money(opening), "closing_amount": money(closing), "payer_count": payers}
                | {f"{name}_amount": money(value) for name, value in moved.items()}
                | {f"{name}_payer_count": value for name, value in counts.items()}
                | {"arppu_amount": money(closing / payers) if payers else None}
            )
        return found

    def _subscribing(self, found: dict[str, Table]) -> reference_subscriptions.Subscribing:
        countries = {row["listener_key"]: row.get("country") for row in self.rows.get("listeners", [])}
        periods, mrr, activity = list(found["subscription_periods"].values()), found["mrr_days"], found.get("activity_days", {})
        return reference_subscriptions.Subscribing(periods, countries, mrr, activity, self.today, self.rule, self.week_of)

    def _acquisition(self, periods: list[Row]) -> dict[str, Table]:
        return reference_acquisition.Acquisition(
            self.rows, periods, self.today, self.tenant.currency, self.rate, self.rule, self.week_of
        ).all()

    def _revenue(self) -> Table:
        found: Table = defaultdict(
            lambda: {
                "gross_amount": Decimal(0), "refund_amount": Decimal(0), "tax_amount": Decimal(0), "transaction_count": 0, "unconverted_count": 0
            }
        )  # fmt: skip
        for row in self.rows.get("payments", []):
            if row["status"] != "failed":
                tax = Decimal(str(row.get("tax_amount") or 0))
                amount = Decimal(str(row["amount"]))
                is_refund = row["status"] == "refunded"
                sums = {"refund_amount" if is_refund else "gross_amount": amount, "tax_amount": -tax if is_refund else tax}
                self._take(found[row["paid_on"], row.get("country") or "ZZ", "subscription"], sums, row["currency"], row["paid_on"])
        for row in self.rows.get("ad_impressions", []):
            sums = {"gross_amount": Decimal(str(row["revenue_amount"]))}
            self._take(found[row["shown_on"], row.get("country") or "ZZ", "advertising"], sums, row["currency"], row["shown_on"])
        for numbers in found.values():
            numbers["net_amount"] = money(numbers["gross_amount"] - numbers["refund_amount"] - numbers["tax_amount"])
            for name in ("gross_amount", "refund_amount", "tax_amount"):
                numbers[name] = money(numbers[name])
        return dict(found)

    def _take(self, numbers: Row, sums: dict[str, Decimal], currency: str, on: date) -> None:
        rate = self.rate(currency, on)
        numbers["transaction_count"] += 1
        if rate is None:
            numbers["unconverted_count"] += 1
            return
        for name, amount in sums.items():
            numbers[name] += amount * rate

    def _statements(self) -> Table:
        found: Table = {}
        for row in self.rows["statements"]:
            key = (row.get("service") or "unknown", row["period_ends_on"].replace(day=1), row["track_id"])
            numbers = found.setdefault(key, {"stream_count": None, "net_amount": Decimal(0), "line_count": 0, "unconverted_count": 0})
            rate = self.rate(row["currency"], row["period_ends_on"])
            numbers["line_count"] += 1
            numbers["unconverted_count"] += rate is None
            if row.get("stream_count") is not None:
                numbers["stream_count"] = (numbers["stream_count"] or 0) + row["stream_count"]
            numbers["net_amount"] += Decimal(str(row["net_amount"])) * (rate or 0)
        for numbers in found.values():
            numbers["net_amount"] = money(numbers["net_amount"])
        return found

    def _counts(self) -> Table:
        found: Table = {}
        dates = {
            "plays": "played_on", "interactions": "interacted_on", "subscription_events": "occurred_on", "payments": "paid_on",
            "ad_impressions": "shown_on", "statements": "period_ends_on",
            "touchpoints": "touched_on", "exposures": "exposed_on",
        }  # fmt: skip
        dates |= {"artificial_streams": "flagged_on", "sales": "sold_on"}
        late: dict[Key, list[int]] = defaultdict(list)
        for dataset, column in dates.items():
            for row in self.rows.get(dataset, []):
                numbers = found.setdefault((dataset, row[column]), {"silver_count": 0, "difference_count": 0})
                numbers["silver_count"] += 1
                late[dataset, row[column]].append((row["received_on"] - row[column]).days)
        for (dataset, on), numbers in found.items():
            days = sorted(late[dataset, on])
            numbers["late_count"] = sum(count > 0 for count in days)
            numbers["p50_days_late"], numbers["p90_days_late"] = (days[-(-len(days) * n // 10) - 1] for n in (5, 9))
            numbers["max_days_late"] = days[-1]
            numbers["warehouse_count"] = numbers["silver_count"]
            if dataset == "plays":
                numbers["mart_count"] = sum(p["played_on"] == on for p in self.plays)
                numbers["joined_count"] = sum(event.on == on for event in self.joined)
                numbers["zero_length_count"] = sum(r["played_on"] == on and r["ms_played"] == 0 for r in self.rows["plays"])
        return found


def _months_after(on: date, months: int) -> date:
    """The same day of the month, or the month's last, so many months later."""
    year, month = divmod(on.year * 12 + on.month - 1 + months, 12)
    for day in range(on.day, 27, -1):
        try:
            return date(year, month + 1, day)
        except ValueError:
            continue
    return date(year, month + 1, min(on.day, 28))


KEYS = {
    "plays": ("play_id",),
    "sessions": ("listener_key", "started_at"),
    "listener_days": ("listener_key", "played_on"),
    "activity_days": ("played_on",),
    "track_days": ("track_id", "played_on", "country"),
    "track_months": ("track_id", "month_on"),
    "territory_curve_days": ("country", "played_on"),
    "genre_days": ("genre", "played_on"),
    "artist_days": ("artist_id", "played_on"),
    "track_facts": ("track_id",),
    "listener_facts": ("listener_key",),
    "retention_weeks": ("cohort_on", "week"),
    "subscription_periods": ("subscription_id", "period_from_on"),
    "mrr_days": ("day_on",),
    "revenue_days": ("revenue_on", "country", "stream_of_revenue"),
    "statement_months": ("service", "month_on", "track_id"),
    "holder_days": ("holder_id", "played_on"),
    "reconciliation_days": ("dataset", "event_on"),
    **reference_acquisition.KEYS,
    **reference_artists.KEYS,
    **reference_audience.KEYS,
    **reference_content.KEYS,
    **reference_engagement.KEYS,
    **reference_operations.KEYS,
    **reference_revenue.KEYS,
    **reference_rights.KEYS,
    **reference_subscriptions.KEYS,
}


def actual(world: World, mart: str, schema: str | None = None) -> Table:
    """The published (or built) mart by the same key."""
    found: Table = {}
    for row in world.mart(mart, schema=schema):
        key = tuple(value.astimezone(UTC) if isinstance(value := row[column], datetime) else value for column in KEYS[mart])
        assert key not in found, f"{mart}: {key} stands twice"
        found[key] = row
    return found


def differences(world: World, business_day: date, schema: str | None = None, *, by: dict[str, Table] | None = None) -> list[str]:
    """Every place where a mart is not what it should be (or what `by` says), in words; empty if there is none."""
    found = []
    for mart, wanted in (expected(world, business_day) if by is None else by).items():
        given = actual(world, mart, schema)
        found += [f"{mart} {key}: missing" for key in wanted.keys() - given.keys()]
        found += [f"{mart} {key}: should not be there" for key in given.keys() - wanted.keys()]
        for key in wanted.keys() & given.keys():
            for column, value in wanted[key].items():
                if not _same(given[key][column], value):
                    found.append(f"{mart} {key} {column}: is {given[key][column]!r}, should be {value!r}")
    return sorted(found)


def _same(given: Any, wanted: Any) -> bool:
    if isinstance(given, float) and isinstance(wanted, (int, float)):
        return abs(given - wanted) <= 1e-12 * max(1, abs(wanted))
    return bool(given == wanted)
