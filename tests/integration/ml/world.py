"""A small tenant's marts, written straight to PostgreSQL, with truths that a model can find."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import numpy as np

from nocturne.postgres import SQL, Identifier, connect, statement
from nocturne.settings import Settings
from nocturne.tenants import Tenant

BEGINS = date(2026, 1, 5)
DAYS = 120
DAY = BEGINS + timedelta(days=DAYS - 1)
GRACE, FINAL = 14, 7
COUNTRIES = ("FR", "DE", "BR")
GENRES = ("jazz", "metal", "house", "folk")
_AUDIO = ("tempo", "energy", "danceability", "valence", "acousticness", "instrumentalness", "speechiness", "liveness", "loudness")
_TABLES = {
    "listener_days": (
        "listener_key text, played_on date, play_count bigint, stream_count bigint, skip_count bigint, completed_count bigint,"
        " ms_played bigint, track_count bigint, artist_count bigint, session_count bigint, country text"
    ),
    "activity_days": "played_on date, play_count bigint, stream_count bigint, listeners_1d bigint, is_final boolean",
    "revenue_days": "revenue_on date, country text, stream_of_revenue text, net_amount numeric(18,6)",
    "listener_facts": "listener_key text, country text, signed_up_on date, stream_count bigint",
    "subscription_periods": (
        "subscription_id text, period_from_on date, period_to_on date, listener_key text, plan_id text, kind text, billing_period text,"
        " price_amount numeric(18,6), price_country text, auto_renew_off_on date, churned_on date, settles_on date"
    ),
    "track_facts": (
        "track_id text, artist_id text, release_id text, genre text, duration_ms bigint, "
        + ", ".join(f"{name} double precision" for name in _AUDIO)
    ),
}


def make_tenant(slug: str, *datasets: str, tier: str = "pro") -> Tenant:
    """A tenant whose sources deliver `datasets`."""
    return Tenant.model_validate(
        {
            "slug": slug,
            "name": slug.title(),
            "tier": tier,
            "time_zone": "UTC",
            "currency": "EUR",
            "begins_on": BEGINS,
            "rules": {"churn_grace_days": GRACE, "final_after_days": FINAL},
            "sources": [{"name": name, "dataset": name, "kind": "files", "location": f"{name}/{{day}}.ndjson"} for name in datasets],
        }
    )


@dataclass
class Marts:
    """Rows by mart; `write` puts them into a tenant's schema, in place of what stood there."""

    rows: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)

    def write(self, tenant: Tenant, settings: Settings, *names: str) -> None:
        """Write the marts `names`, or all of them."""
        for name in names or tuple(_TABLES):
            with connect(settings, role=tenant.owner_role) as connection:
                table = Identifier(tenant.marts_schema, name)
                connection.execute(SQL("DROP TABLE IF EXISTS {}").format(table))
                connection.execute(SQL("CREATE TABLE {} ({})").format(table, statement(_TABLES[name])))
                copy_rows(connection, table, self.rows.get(name, []))

    def drop(self, tenant: Tenant, settings: Settings, name: str) -> None:
        """Remove a mart that the tenant does not have."""
        with connect(settings, role=tenant.owner_role) as connection:
            connection.execute(SQL("DROP TABLE {}").format(Identifier(tenant.marts_schema, name)))


def copy_rows(connection: Any, table: Any, rows: Iterable[tuple[Any, ...]]) -> None:
    with connection.cursor().copy(SQL("COPY {} FROM STDIN").format(table)) as copy:
        for row in rows:
            copy.write_row(row)


def generate(listeners: int = 500, days: int = DAYS, tracks: int = 900, seed: int = 7) -> Marts:
    """Payers of monthly plans who listen less from about two weeks before they leave; a weekly rhythm with growth; genres by sound."""
    dice = np.random.default_rng(seed)
    marts = Marts()
    keys = sorted(f"{value:016x}" for value in dice.integers(16**15, 16**16 - 1, listeners, dtype=np.uint64))
    leaves = _lives(marts, keys, days, dice)
    _listen(marts, keys, leaves, days, dice)
    _catalogue(marts, tracks, dice)
    return marts


def _lives(marts: Marts, keys: list[str], days: int, dice: np.random.Generator) -> np.ndarray[Any, Any]:
    """Periods, payments and, for each listener, the day (number) on which the last period ends; a large number for those who stay."""
    leaves = np.full(len(keys), 10_000)
    revenue: dict[tuple[date, str], float] = {}
    periods, facts = [], []
    for number, key in enumerate(keys):
        country = COUNTRIES[number % 3]
        begin = int(dice.integers(-25, days - 30)) if number % 4 == 0 else int(dice.integers(-28, 2))
        facts.append((key, country, BEGINS + timedelta(days=begin), int(dice.integers(1, 10_000))))
        while begin < days:
            end = begin + 30
            goes = dice.random() < 0.16
            warned = BEGINS + timedelta(days=end - 3) if goes and dice.random() < 0.4 else None
            ends_on = BEGINS + timedelta(days=end)
            known = end + GRACE <= days - 1
            periods.append(
                (
                    f"s{number}", BEGINS + timedelta(days=begin), ends_on, key, "monthly", "paid", "month", 9.99, country,
                    warned if end - 3 < days else None, ends_on if goes and known else None, ends_on + timedelta(days=GRACE),
                )
            )  # fmt: skip
            paid = (BEGINS + timedelta(days=begin), country)
            revenue[paid] = revenue.get(paid, 0.0) + 9.99
            if goes:
                leaves[number] = end
                break
            begin = end
    marts.rows["subscription_periods"] = periods
    marts.rows["listener_facts"] = facts
    marts.rows["revenue_days"] = [
        (on, country, "subscription", round(amount, 2)) for (on, country), amount in revenue.items() if on >= BEGINS
    ]
    return leaves


def _listen(marts: Marts, keys: list[str], leaves: np.ndarray[Any, Any], days: int, dice: np.random.Generator) -> None:
    day = np.arange(days)
    rate = dice.gamma(4.0, 2.5, len(keys))[:, None] * (1 + 0.25 * np.isin(day % 7, (4, 5)))[None, :] * np.exp(0.002 * day)[None, :]
    left = leaves[:, None] - day[None, :]
    rate = np.where(left < 16, rate * 0.3, rate) * (left > -5)
    plays = dice.poisson(rate)
    skips = dice.binomial(plays, np.where(left < 16, 0.4, 0.2))
    rows = []
    for listener, played in zip(*np.nonzero(plays), strict=True):
        count, skipped = int(plays[listener, played]), int(skips[listener, played])
        streams = count - skipped
        rows.append(
            (
                keys[listener], BEGINS + timedelta(days=int(played)), count, streams, skipped, streams, streams * 180_000,
                count, max(1, count // 2), 1 + count // 8, COUNTRIES[listener % 3],
            )
        )  # fmt: skip
    marts.rows["listener_days"] = rows
    marts.rows["activity_days"] = [
        (
            BEGINS + timedelta(days=int(n)), int(plays[:, n].sum()), int((plays - skips)[:, n].sum()),
            int((plays[:, n] > skips[:, n]).sum()), bool(n < days - FINAL),
        )
        for n in day
    ]  # fmt: skip


def _catalogue(marts: Marts, tracks: int, dice: np.random.Generator) -> None:
    centres = np.full((len(GENRES), 9), 0.5)
    centres[:, :3] = 0.5 + 0.25 * np.array([[1, 1, -1], [-1, 1, 1], [1, -1, 1], [-1, -1, -1]])  # the other features say nothing
    rows = []
    for number in range(tracks):
        artist = number // 6
        genre = artist % len(GENRES)
        sound = np.clip(centres[genre] + 0.05 * np.sin(artist * np.arange(1, 10)) + dice.normal(0, 0.16, 9), 0, 1)
        tempo, loudness = 60 + 120 * float(sound[0]), -60 * float(1 - sound[8])
        named = GENRES[genre] if number % 10 else None
        audio = (tempo, *(float(value) for value in sound[1:8]), loudness)
        rows.append((f"t{number:05d}", f"a{artist}", f"r{number // 3}", named, int(120_000 + 200_000 * dice.random()), *audio))
    marts.rows["track_facts"] = rows
