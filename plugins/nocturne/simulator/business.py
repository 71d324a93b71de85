"""What the business leaves behind, as tables with the day on which each row is received: subscriptions, payments, marketing, sales and
statements.

The tables of accounts (subscription_events, payments, exposures, touchpoints) and playlist_tracks are made whole, once; sales and
chart_entries by day; statements by month, from the plays themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.simulator.catalogue import ALWAYS, Catalogue
from nocturne.simulator.clock import Clock
from nocturne.simulator.columns import dates, hexadecimal, instants, micros, money, numbered, picked, table
from nocturne.simulator.money import TAX, Prices, decimals
from nocturne.simulator.parameters import WorldParameters
from nocturne.simulator.people import CHANNELS, People
from nocturne.simulator.randomness import Floats, Ints, Words, bits, dice, mixed, words
from nocturne.simulator.reference import Reference
from nocturne.simulator.subscriptions import END_REASONS, EVENTS, METHODS, OPENING, STATUSES, Lives, Rows

STATEMENT_DAYS = 12
"""Days after a month's end on which its statements arrive."""
_COSTS = (0.9, 0.6, 0.02, 1.4, 0.0, 0.5, 0.0)
_FORMATS = ("album_download", "track_download", "cd", "vinyl", "cassette")
_FORMAT_PRICES = np.array([6.4, 0.7, 7.9, 16.5, 6.0])
_FORMAT_SHARES = np.array([0.22, 0.38, 0.12, 0.23, 0.05])
_CHART_LENGTH = 100


@dataclass(frozen=True)
class Received:
    """A whole event table: its rows and the number of the day on which each is received."""

    rows: pa.Table
    day: Ints

    def on(self, day: int) -> pa.Table:
        """The rows that are received on a day."""
        return self.rows.take(pa.array(np.flatnonzero(self.day == day)))


class Business:
    """Makes the tables."""

    def __init__(self, parameters: WorldParameters, clock: Clock, catalogue: Catalogue, people: People, reference: Reference) -> None:
        self.parameters, self.clock, self.catalogue, self.people, self.reference = parameters, clock, catalogue, people, reference
        self.prices = Prices(parameters, clock)
        self._currencies = [country.currency for country in parameters.countries]
        self._countries = [country.code for country in parameters.countries]

    # accounts ------------------------------------------------------------------------------------------------------------
    def subscription_events(self, lives: Lives) -> Received:
        """All events of the world's days; on the first day also what opened each period that runs then, and what followed it."""
        kept = lives.events.take(opening_export(lives.events))
        plans = [plan.plan_id for plan in self.parameters.plans]
        opens = np.isin(kept["event"], [EVENTS.index(name) for name in OPENING])
        columns = {
            "event_id": hexadecimal(_numbers(21, len(kept))),
            "occurred_at": instants(self._at(kept)),
            "listener_id": picked(kept["listener"], self.reference.listener_ids),
            "subscription_id": numbered("s", kept["listener"] + 1, 7),
            "event_type": picked(kept["event"], EVENTS),
            "plan_id": picked(kept["plan"], plans),
            "previous_plan_id": picked(kept["previous"], plans),
            "period_from_on": dates(self.clock.dates(np.where(opens, kept["from"], 0)), opens),
            "period_to_on": dates(self.clock.dates(np.where(opens, kept["to"], 0)), opens),
            "end_reason": picked(kept["reason"], END_REASONS),
        }
        return Received(table("subscription_events", len(kept), columns), np.maximum(kept["day"], 0))

    def payments(self, lives: Lives) -> Received:
        """All payments of the world's days."""
        kept = lives.payments.take((lives.payments["day"] >= 0) & (lives.payments["day"] < self.parameters.days))
        country = self.people.country[kept["listener"]]
        places = np.array([decimals(currency) for currency in self._currencies])[country]
        price = self.prices.of(kept["plan"], country, kept["priced"])
        columns = {
            "payment_id": hexadecimal(_numbers(22, len(kept))),
            "paid_at": instants(self._at(kept) + 4_000),
            "listener_id": picked(kept["listener"], self.reference.listener_ids),
            "subscription_id": numbered("s", kept["listener"] + 1, 7),
            "status": picked(kept["status"], STATUSES),
            "amount": money(_amounts(price, places)),
            "currency": picked(country, self._currencies),
            "tax_amount": money(_amounts(price * TAX, places)),
            "country": picked(country, self._countries),
            "method": picked(lives.method[kept["listener"]], METHODS),
        }
        return Received(table("payments", len(kept), columns), kept["day"])

    def exposures(self, lives: Lives) -> Received:
        """Those in an experiment meet their variant a minute after they sign up."""
        who = np.flatnonzero(lives.experiment >= 0)
        names = [experiment.experiment_id for experiment in self.parameters.events.experiments]
        columns = {
            "experiment_id": picked(lives.experiment[who], pa.array(names, pa.string())),
            "listener_id": picked(who, self.reference.listener_ids),
            "variant": picked(lives.variant[who], ["control", "treatment"]),
            "exposed_at": instants(self.reference.signed_up_ms()[who] + 60_000),
        }
        return Received(table("exposures", len(who), columns), self.people.signed_up[who])

    def touchpoints(self) -> Received:
        """One to four contacts in the twenty days before a sign-up; the last one came through the listener's channel."""
        who = np.flatnonzero((self.people.signed_up >= 0) & ~self.people.is_bot)
        contacts = 1 + bits(self.people.words[who], 11, 2)
        row = np.repeat(who, contacts)
        drawn = words(dice(self.parameters.seed, "touchpoints"), len(row))
        is_last = np.zeros(len(row), bool)
        is_last[np.cumsum(contacts) - 1] = True
        channel = np.where(is_last, self.people.channel[row], bits(drawn, 0, 16) % len(CHANNELS))
        before = np.where(is_last, bits(drawn, 16, 12) * 800, 3_600_000 + bits(drawn, 16, 16) * 26_000)
        at = self.reference.signed_up_ms()[row] - 600_000 - before
        day = self.clock.day_of(at)
        there = day >= 0
        row, drawn, channel, at, day = row[there], drawn[there], channel[there], at[there], day[there]
        cost = np.array(_COSTS)[channel] * (0.5 + bits(drawn, 32, 16) / 65_536)
        columns = {
            "touchpoint_id": hexadecimal(_numbers(23, len(row))),
            "touched_at": instants(at),
            "listener_id": picked(row, self.reference.listener_ids),
            "channel": picked(channel, CHANNELS),
            "campaign_id": numbered("c", channel * 10 + bits(drawn, 48, 16) % 3, 3),
            "cost_amount": money(micros(cost, 4)),
            "currency": picked(np.zeros(len(row), np.int64), [self.parameters.currency]),
        }
        return Received(table("touchpoints", len(row), columns), day)

    # playlists, sales, charts --------------------------------------------------------------------------------------------
    def playlist_tracks(self) -> Received:
        """Every entry and every leaving; what stood in the lists already enters in the world's first minute."""
        entries = self.catalogue.playlists
        leaves = np.flatnonzero(entries.entry_to < ALWAYS)
        entry = np.r_[np.arange(len(entries.entry_track)), leaves]
        day = np.r_[entries.entry_from, entries.entry_to[leaves]]
        is_added = np.arange(len(entry)) < len(entries.entry_track)
        order = np.lexsort((entry, is_added, day))
        entry, day, is_added = entry[order], day[order], is_added[order]
        second = np.where(day == 0, 30, 36_000 + entries.entry_playlist[entry] * 61 + is_added)
        columns = {
            "change_id": hexadecimal(_numbers(24, len(entry))),
            "changed_at": instants(self.clock.start_ms(day) + second * 1000),
            "playlist_id": picked(entries.entry_playlist[entry], self.reference.playlist_ids),
            "track_id": picked(entries.entry_track[entry], self.reference.track_ids),
            "change": picked(is_added.astype(np.int64), ["removed", "added"]),
            "position": pa.array(entries.entry_position[entry], mask=~is_added),
        }
        return Received(table("playlist_tracks", len(entry), columns), day)

    def sales(self, day: int) -> pa.Table:
        """What was sold on a day: a few units of many releases, more on the weekend; one line in fifty is a return."""
        generator = dice(self.parameters.seed, "sales", day)
        age = day - self.catalogue.releases.released
        pull = np.where(
            age < 0, 0.0, self.catalogue.artist_pull[self.catalogue.releases.artist] * (0.2 + 3 * np.exp(-np.maximum(age, 0) / 10))
        )
        expected = 0.25 * len(pull) * pull / max(pull.sum(), 1e-9) * self.clock.season(day)
        line = np.repeat(np.arange(len(pull)), generator.poisson(expected))
        drawn = words(generator, len(line))
        kind = np.searchsorted(np.cumsum(_FORMAT_SHARES), bits(drawn, 0, 16) / 65_536, side="right")
        units = (1 + bits(drawn, 16, 8) // 52) * np.where(bits(drawn, 24, 8) < 5, -1, 1)
        country = bits(drawn, 32, 8) % len(self._countries)
        columns = {
            "sale_id": hexadecimal(_numbers(25, len(line), day)),
            "sold_on": dates(self.clock.dates(np.full(len(line), day))),
            "release_id": picked(line, self.reference.release_ids),
            "unit_count": pa.array(units),
            "net_amount": money(micros(units * _FORMAT_PRICES[kind], decimals(self.parameters.currency))),
            "currency": picked(np.zeros(len(line), np.int64), [self.parameters.currency]),
            "country": picked(country, self._countries),
            "format": picked(kind, _FORMATS),
        }
        return table("sales", len(line), columns)

    def chart_entries(self, day: int) -> pa.Table:
        """Mondays bring the chart of the week before: a hundred positions by expected plays, with some noise."""
        count = min(_CHART_LENGTH, self.parameters.tracks) if self.clock.date_of(day).weekday() == 0 else 0
        pull = self.catalogue.pull_on(day)
        shares = self.catalogue.hit_shares(day, self.clock)
        pull = pull / pull.sum() * (1 - shares.sum())
        np.add.at(pull, np.array(self.catalogue.hit_tracks, np.int64), shares)
        weekly = 7 * self.parameters.listeners * self.parameters.sessions_a_day * self.parameters.plays_a_session
        streams = dice(self.parameters.seed, "chart", day).poisson(pull * weekly)
        top = np.argsort(-streams, kind="stable")[:count]
        tracks, artists = self.reference.standing("tracks").rows, self.reference.standing("artists").rows
        columns = {
            "chart": picked(np.zeros(count, np.int64), ["weekly top 100"]),
            "charted_on": dates(self.clock.dates(np.full(count, day))),
            "position": pa.array(np.arange(1, count + 1)),
            "track_name": tracks["title"].take(pa.array(top)).combine_chunks(),
            "artist_name": artists["artist_name"].take(pa.array(self.catalogue.track_artist[top])).combine_chunks(),
            "track_id": picked(top, self.reference.track_ids),
            "stream_count": pa.array(streams[top].astype(np.int64)),
            "country": picked(np.zeros(count, np.int64), [self._countries[0]]),
        }
        return table("chart_entries", count, columns)

    # statements ----------------------------------------------------------------------------------------------------------
    def statement_month(self, day: int) -> date | None:
        """The last day of the month whose statements arrive on a day, if any do."""
        end = self.clock.date_of(day) - timedelta(days=STATEMENT_DAYS)
        begins = self.clock.number_of(end.replace(day=1))
        return end if (end + timedelta(days=1)).day == 1 and begins >= 0 else None

    def statements(self, ends_on: date, counts: Ints) -> pa.Table:
        """The statements of a month from its streams (track x country x platform): one statement a platform."""
        track, country, service = np.nonzero(counts)
        order = np.lexsort((country, track, service))
        track, country, service = track[order], country[order], service[order]
        true = counts[track, country, service]
        told = true.copy()
        names = list(self.parameters.platforms)
        for number, shortfall in enumerate(self.parameters.events.shortfalls):
            if shortfall.period_ends_on == ends_on:
                short = (track == self.short_track(number)) & (service == names.index(shortfall.service))
                told = np.where(short, np.floor(true * shortfall.ratio).astype(np.int64), told)
        generator = dice(self.parameters.seed, "statements", ends_on.isoformat())
        rate = 0.0026 + 0.0024 * generator.random((len(names), len(self._countries)))
        month = f"{ends_on:%Y%m}"
        line = np.arange(len(track)) - np.searchsorted(service, service)
        statement = picked(service, [f"{name}-{month}" for name in names])
        amount = np.round(told * rate[service, country] * 10_000) / 10_000
        columns = {
            "line_id": pc.binary_join_element_wise(statement.cast(pa.string()), numbered("", line + 1, 6), "-"),
            "period_ends_on": dates(np.full(len(track), np.datetime64(ends_on))),
            "statement_id": statement,
            "track_id": picked(track, self.reference.track_ids),
            "isrc": picked(track, self.reference.track_codes),
            "service": picked(service, names),
            "country": picked(country, self._countries),
            "stream_count": pa.array(told),
            "net_amount": money(micros(amount, 4)),
            "currency": picked(np.zeros(len(track), np.int64), [self.parameters.currency]),
        }
        return table("statements", len(track), columns)

    def short_track(self, number: int) -> int:
        """The track that a planted shortfall is about: one of the most played."""
        order = np.argsort(-np.where(self.catalogue.track_released < 0, self.catalogue.track_pull, 0), kind="stable")
        return int(order[2 + number])

    # time ----------------------------------------------------------------------------------------------------------------
    def _at(self, rows: Rows) -> Ints:
        return self.clock.start_ms(rows["day"]) + rows["second"] * 1000


def opening_export(events: Rows) -> Ints:
    """The rows to deliver: those of the world's days, and of the days before only what opened a period that runs on the first day,
    with what followed it.
    """
    opens = np.isin(events["event"], [EVENTS.index(name) for name in OPENING])
    early = np.flatnonzero((events["day"] < 0) & opens)
    latest = np.full(int(events["listener"].max(initial=0)) + 1, -1)
    latest[events["listener"][early]] = early  # rows are in the order of time: the last one stands
    index = np.arange(len(events))
    follows = (events["day"] < 0) & (latest[events["listener"]] >= 0) & (index >= latest[events["listener"]])
    ended = np.unique(events["listener"][follows & (events["event"] == EVENTS.index("ended"))])
    return index[(events["day"] >= 0) | (follows & ~np.isin(events["listener"], ended))]


def _amounts(values: Floats, places: Ints) -> Ints:
    scale = 10.0**places
    return np.round(np.round(values * scale) / scale * 1_000_000).astype(np.int64)


def _numbers(kind: int, count: int, day: int = 0) -> Words:
    return mixed(np.arange(count, dtype=np.uint64) + np.uint64((kind << 56) | (day << 32)))
