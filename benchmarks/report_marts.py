"""Published marts of a made-up tenant, straight into PostgreSQL: what `render_reports` reads, without the night that makes it.

Numbers are drawn from a seed; tables have the names and columns of the published marts. Used by the benchmark and by the room's tests.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from nocturne.ledger import Mark, Marks
from nocturne.postgres import SQL, Connection, Identifier, connect, statement
from nocturne.settings import Settings
from nocturne.tenants import Tenant, load_tenant

COUNTRIES: Final = ("FR", "DE", "US", "BR", "JP", "GB")
GENRES: Final = ("indie pop", "electronic", "hip hop", "jazz", "ambient", "folk")
CHANNELS: Final = ("search", "social", "referral", "store", "direct")
SERVICES: Final = ("Northwind Music", "Streamly", "Bluebird", "Tidewater", "Kiosk", "Vinyl & Co", "Radio Nova")
_ADJECTIVES: Final = ("Silent", "Electric", "Velvet", "Golden", "Distant", "Paper", "Neon", "Hollow", "Crimson", "Wandering")
_NOUNS: Final = ("Harbour", "Machines", "Letters", "Avenue", "Orchard", "Satellites", "Winter", "Mirrors", "Rivers", "Parade")

TABLES: Final = {
    "activity_days": "played_on date, play_count bigint, stream_count bigint, listeners_1d bigint, listeners_7d bigint,"
    " listeners_28d bigint, stickiness_ratio float8, skip_ratio float8, completion_ratio float8, play_time_ms bigint,"
    " new_listener_count bigint, is_final boolean",
    "plays": "play_id text, played_at timestamptz, played_on date, is_stream boolean",
    "track_days": "track_id text, played_on date, country text, play_count bigint, stream_count bigint, skip_count bigint",
    "artist_days": "artist_id text, played_on date, stream_count bigint",
    "genre_days": "genre text, played_on date, stream_count bigint",
    "track_facts": "track_id text, title text, artist_id text, artist_name text, genre text, released_on date",
    "listener_facts": "listener_key text, country text, channel text, first_streamed_on date, last_streamed_on date",
    "retention_weeks": "cohort_on date, week int, listener_count bigint, retained_count bigint, retention_ratio float8",
    "mrr_days": "day_on date, opening_amount numeric, new_amount numeric, expansion_amount numeric, contraction_amount numeric,"
    " churn_amount numeric, reactivation_amount numeric, closing_amount numeric, payer_count bigint, arppu_amount numeric",
    "revenue_days": "revenue_on date, country text, stream_of_revenue text, gross_amount numeric, net_amount numeric",
    "statement_months": "month_on date, service text, track_id text, stream_count bigint, net_amount numeric",
    "holder_days": "played_on date, holder_id text, holder_name text, stream_count numeric, market_share_ratio numeric",
    "reconciliation": "dataset text, received_on date, delivered_count bigint, left_out_count bigint, valid_count bigint,"
    " quarantined_count bigint, held_batch_count bigint, difference_count bigint",
    "reconciliation_days": "dataset text, event_on date, silver_count bigint, duplicate_count bigint, warehouse_count bigint,"
    " mart_count bigint, joined_count bigint, zero_length_count bigint, difference_count bigint",
    "ml.stream_forecasts": "forecast_on date, target_on date, metric text, value float8, low float8, high float8, model_version text",
    "ml.churn_predictions": "listener_key text, predicted_on date, probability float8, horizon_days int, model_version text",
    "ml.genre_predictions": "track_id text, predicted_on date, genre text, probability float8, model_version text",
    "ml.insights": "insight_id text, found_on date, rank int, metric text, dimension text, member text, member_name text, value float8,"
    " expected float8, change_ratio float8, severity text, text text",
}
LISTENING: Final = (
    "activity_days", "plays", "track_days", "artist_days", "genre_days", "track_facts", "retention_weeks", "reconciliation",
    "reconciliation_days",
)  # fmt: skip
SERVICE: Final = (*LISTENING, "listener_facts", "mrr_days", "revenue_days")
LABEL: Final = (*LISTENING, "statement_months", "holder_days")
MODELS: Final = ("ml.stream_forecasts", "ml.churn_predictions", "ml.genre_predictions", "ml.insights")


def tenant_of(folder: Any, slug: str, **fields: Any) -> Tenant:
    """A tenant whose file is written to `folder`."""
    import yaml

    document = {
        "name": "Aurora Streaming",
        "tier": "enterprise",
        "time_zone": "Europe/Paris",
        "currency": "EUR",
        "begins_on": "2025-01-01",
        "sources": [{"name": "plays", "dataset": "plays", "kind": "files", "location": "plays/{day}.ndjson"}],
    }
    path = folder / f"{slug}.yml"
    path.write_text(yaml.safe_dump(document | fields))
    return load_tenant(path)


@dataclass
class PublishedMarts:
    """Rows of every table, made for `days` days that end with `day`; `scale` is about the number of listeners."""

    day: date
    days: int = 120
    scale: int = 2_000
    tracks: int = 60
    seed: int = 7
    rows: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the rows."""
        self.random = random.Random(self.seed)
        self.titles = [f"{self.random.choice(_ADJECTIVES)} {self.random.choice(_NOUNS)}" for _ in range(self.tracks)]
        self.artists = [f"{self.random.choice(_ADJECTIVES)} {self.random.choice(_NOUNS)}" for _ in range(max(4, self.tracks // 3))]
        self._catalogue()
        self._activity()
        self._content()
        self._audience()
        self._subscriptions()
        self._revenue()
        self._rights()
        self._deliveries()
        self._models()

    # making --------------------------------------------------------------------------------------------------------------
    def back(self, days: int) -> date:
        """The day so many days before the last."""
        return self.day - timedelta(days=days)

    def level(self, back: int) -> float:
        """How much is listened to on a day: growth, a weekly rhythm and noise."""
        weekday = self.back(back).weekday()
        return (1 + 0.25 * (1 - back / self.days)) * (1.18 if weekday in {4, 5} else 0.96) * self.random.uniform(0.96, 1.04)

    def _catalogue(self) -> None:
        self.rows["track_facts"] = [
            (
                f"t{number:04d}", title, f"a{number % len(self.artists):03d}", self.artists[number % len(self.artists)],
                GENRES[number % len(GENRES)], self.back(self.random.randint(10, 2_000)),
            )
            for number, title in enumerate(self.titles)
        ]  # fmt: skip

    def _activity(self) -> None:
        rows = []
        for back in range(self.days - 1, -1, -1):
            level = self.level(back)
            streams = int(self.scale * 4.2 * level)
            plays = int(streams * 1.31)
            daily, weekly, monthly = (int(self.scale * share * level**0.4) for share in (0.34, 0.68, 0.93))
            rows.append(
                (
                    self.back(back), plays, streams, daily, weekly, monthly, daily / monthly, self.random.uniform(0.22, 0.26),
                    self.random.uniform(0.61, 0.66), streams * 195_000, int(self.scale * 0.012 * level), back >= 7,
                )
            )  # fmt: skip
        self.rows["activity_days"] = rows
        self.plays = {row[0]: row[1] for row in rows}
        self.streams = {row[0]: row[2] for row in rows}

    def _agree(self, streams: Mapping[date, int]) -> None:
        """Have the days of activity tell as many streams as those of the tracks do."""
        for place, row in enumerate(self.rows["activity_days"]):
            if row[0] in streams:
                self.streams[row[0]], self.plays[row[0]] = streams[row[0]], int(streams[row[0]] * 1.31)
                self.rows["activity_days"][place] = (row[0], self.plays[row[0]], self.streams[row[0]], *row[3:])

    def _content(self) -> None:
        weights = [1 / (number + 2) ** 0.8 for number in range(self.tracks)]
        everything, markets = sum(weights), (0.34, 0.22, 0.18, 0.12, 0.08, 0.06)
        tracks, artists, genres, plays, counted = [], {}, {}, [], dict[date, int]()
        for back in range(min(self.days, 56) - 1, -1, -1):
            when = self.back(back)
            for number, weight in enumerate(weights):
                hit = 1 + 2.5 * max(0, 7 - back) / 7 if number == 9 else 1.0
                streams = self.streams[when] * weight / everything * hit
                for country, market in zip(COUNTRIES, markets, strict=True):
                    count = int(streams * market * self.random.uniform(0.85, 1.15))
                    tracks.append((f"t{number:04d}", when, country, int(count * 1.3), count, int(count * 0.3)))
                    artist, genre = f"a{number % len(self.artists):03d}", GENRES[number % len(GENRES)]
                    artists[artist, when] = artists.get((artist, when), 0) + count
                    genres[genre, when] = genres.get((genre, when), 0) + count
                    counted[when] = counted.get(when, 0) + count
        self._agree(counted)
        for back in range(27, -1, -1):
            for number in range(self.plays[self.back(back)]):
                hour = min(23, max(0, int(self.random.gauss(18, 4.5)) if self.random.random() < 0.7 else self.random.randint(7, 12)))
                minute = self.random.randint(0, 59)
                at = datetime.combine(self.back(back), datetime.min.time(), tzinfo=UTC) + timedelta(hours=hour - 1, minutes=minute)
                plays.append((f"p{back}-{number}", at, self.back(back), number < self.streams[self.back(back)]))
        self.rows |= {
            "track_days": tracks,
            "artist_days": [(artist, when, count) for (artist, when), count in artists.items()],
            "genre_days": [(genre, when, count) for (genre, when), count in genres.items()],
            "plays": plays,
        }

    def _audience(self) -> None:
        listeners, cohorts = [], []
        for number in range(self.scale):
            first = self.back(self.random.randint(0, self.days - 1))
            last = min(self.day, first + timedelta(days=self.random.randint(0, self.days)))
            country = "IS" if number < 3 else self.random.choices(COUNTRIES, (34, 22, 18, 12, 8, 6))[0]
            listeners.append((f"{number:064x}", country, self.random.choice(CHANNELS), first, last))
        monday = self.day - timedelta(days=self.day.weekday())
        for age in range(16, -1, -1):
            size = self.random.randint(90, 160)
            for week in range(17):
                kept = None if week >= age else int(size * (0.62 * math.exp(-week / 5) + 0.24) * self.random.uniform(0.93, 1.07))
                kept = size if week == 0 and kept is not None else kept
                cohorts.append((monday - timedelta(days=7 * age), week, size, kept, None if kept is None else kept / size))
        self.rows |= {"listener_facts": listeners, "retention_weeks": cohorts}

    def _subscriptions(self) -> None:
        rows, opening, payers = [], Decimal(self.scale) * 3, int(self.scale * 0.3)
        for back in range(self.days - 1, -1, -1):
            new, expansion, contraction, churn, again = (
                Decimal(round(self.scale * share * self.random.uniform(0.5, 1.5), 2)).quantize(Decimal("0.01"))
                for share in (0.021, 0.003, 0.002, 0.011, 0.002)
            )
            closing = opening + new + expansion - contraction - churn + again
            payers += int((new - churn + again) / 10)
            arppu = (closing / payers).quantize(Decimal("0.01"))
            rows.append((self.back(back), opening, new, expansion, contraction, churn, again, closing, payers, arppu))
            opening = closing
        self.rows["mrr_days"] = rows

    def _revenue(self) -> None:
        rows = []
        for back in range(self.days - 1, -1, -1):
            for country, market in zip(COUNTRIES, (0.34, 0.22, 0.18, 0.12, 0.08, 0.06), strict=True):
                for kind, share in (("subscription", 0.12), ("advertising", 0.021)):
                    gross = Decimal(round(self.scale * share * market * self.level(back), 2)).quantize(Decimal("0.01"))
                    rows.append((self.back(back), country, kind, gross, (gross * Decimal("0.82")).quantize(Decimal("0.01"))))
        self.rows["revenue_days"] = rows

    def _rights(self) -> None:
        months = []
        first = self.day.replace(day=1)
        for _ in range(8):
            first = (first - timedelta(days=1)).replace(day=1)
            for place, service in enumerate(SERVICES):
                for number in range(self.tracks):
                    streams = int(self.scale * 90 / (number + 2) ** 0.8 / (place + 1) * self.random.uniform(0.9, 1.1))
                    amount = (Decimal(streams) * Decimal("0.0031")).quantize(Decimal("0.000001"))
                    months.append((first, service, f"t{number:04d}", streams, amount))
        holders = [
            (
                self.back(back),
                ("h0", "h1", "h2", "(unassigned)")[number],
                f"{_NOUNS[number]} Rights" if number < 3 else None,
                Decimal(self.streams[self.back(back)] * share) / 100,
                None,
            )
            for back in range(min(self.days, 28))
            for number, share in enumerate((62, 21, 11, 6))
        ]
        self.rows |= {"statement_months": months, "holder_days": holders}

    def _deliveries(self) -> None:
        rows, layers = [], []
        for back in range(min(self.days, 60)):
            kept = self.plays[self.back(back)] + 300
            refused = int(kept * (0.031 if back == 3 else 0.0012))
            rows.append(("plays", self.back(back), kept + 60 + refused, 0, kept + 60, refused, 0, 0))
            layers.append(("plays", self.back(back), kept, 60, kept, kept - 300, 210, 90, 0))
            rows.append(("payments", self.back(back), 40, 4, 36, 0, 0, 0))
            layers.append(("payments", self.back(back), 36, 0, 36, None, None, None, 0))
        rows += [("tracks", self.back(days), self.tracks, 0, self.tracks, 0, 0, 0) for days in (1, 8, 30)]
        self.rows |= {"reconciliation": rows, "reconciliation_days": layers}

    def _models(self) -> None:
        forecasts = []
        for ahead in range(1, 29):
            mean = self.scale * 5.3 * (1.18 if (self.day + timedelta(days=ahead)).weekday() in {4, 5} else 0.96)
            width = mean * (0.05 + ahead * 0.004)
            when = self.day + timedelta(days=ahead)
            forecasts.append((self.day, when, "stream_count", mean, mean - width, mean + width, "4"))
            money = self.scale * 0.14
            forecasts.append((self.day, when, "net_amount", money, money * 0.94, money * 1.06, "4"))
        for back in range(min(self.days - 1, 56)):
            actual = self.streams[self.back(back)]
            said = actual * self.random.gauss(1.0, 0.05)
            forecasts.append((self.back(back + 7), self.back(back), "stream_count", said, said * 0.93, said * 1.07, "4"))
        churn = [(f"{number:064x}", self.day, self.random.betavariate(1.2, 5), 30, "2") for number in range(self.scale // 4)]
        genres = [(f"t{number:04d}", self.day, GENRES[number % 4], 0.7, "1") for number in range(0, self.tracks, 3)]
        insights = [
            (
                "i1",
                "high",
                "stream_count",
                "track",
                f"Streams were 18 % above what the day was to bring: “{self.titles[9]}” explains most of it.",
            ),
            ("i2", "medium", "listeners_1d", None, "Listeners were 6 % above what the day was to bring."),
            ("i3", "low", "skip_ratio", None, "The skip rate was 0.9 points below what the day was to bring."),
            ("i4", "low", "new_listener_count", None, "New listeners of the week were 11 % above the four weeks before."),
        ]
        self.rows |= {
            "ml.stream_forecasts": forecasts,
            "ml.churn_predictions": churn,
            "ml.genre_predictions": genres,
            "ml.insights": [
                (name, self.day, rank, metric, dimension, None, None, 110.0, 100.0, 0.1, severity, text)
                for rank, (name, severity, metric, dimension, text) in enumerate(insights, 1)
            ],
        }

    # writing -------------------------------------------------------------------------------------------------------------
    def publish(self, tenant: Tenant, settings: Settings, tables: Iterable[str]) -> None:
        """Make these tables with their rows, as the tenant's owner; tables of the same name are replaced."""
        with connect(settings, role=tenant.owner_role) as connection:
            for table in tables:
                put(connection, tenant, table, self.rows[table])

    def tell(self, tenant: Tenant, ledger: Marks) -> None:
        """Write what the ledger knows after such a night: why rows were refused, and which models answered with which drift."""
        batch = f"plays/{self.back(3)}"
        reasons = {"listener_id is missing": 160, "ms_played is below 0": 74, "played_at cannot be read": 11}
        ledger.mark(
            tenant, "quarantine", "plays", {batch: Mark("f", {"rows": 9_000, "valid": 8_755, "quarantined": 245, "reasons": reasons})}
        )
        drifts = {"churn": ("streams_28d", 0.31), "forecast": ("weekday", 0.04), "genre": None}
        for problem, drift in drifts.items():
            facts = {"version": "4", "drift": drift and {"feature": drift[0], "index": drift[1], "rows": 900}}
            ledger.mark(tenant, "prediction", problem, {self.day.isoformat(): Mark("f", facts)})


def put(connection: Connection, tenant: Tenant, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Replace one table."""
    schema, name = (tenant.ml_schema, table[3:]) if table.startswith("ml.") else (tenant.marts_schema, table)
    place = Identifier(schema, name)
    connection.execute(SQL("DROP TABLE IF EXISTS {}").format(place))
    connection.execute(SQL("CREATE TABLE {} ({})").format(place, statement(TABLES[table])))
    with connection.cursor().copy(SQL("COPY {} FROM STDIN").format(place)) as copy:
        for row in rows:
            copy.write_row(row)
