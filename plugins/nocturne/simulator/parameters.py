"""What a world is made from: pydantic, frozen, strict. `demo.yml` beside this file holds the demo tenants' worlds by slug."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from nocturne.simulator.sounds import GENRES

DEMO = Path(__file__).with_name("demo.yml")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Country(_Strict):
    """A territory: its share of the listeners, its money, how far its clocks are ahead of the tenant's, and its price level."""

    code: str = Field(pattern=r"^[A-Z]{2}$")
    share: float = Field(gt=0)
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    hours_ahead: int = 0
    rate: float = Field(1.0, gt=0, description="Units of the tenant's currency for one unit of this country's, at the beginning.")
    prices: float = Field(1.0, gt=0, description="A plan's price here, in this currency, for a base price of 1.")


class Plan(_Strict):
    """A plan: the tier that it gives and its base price."""

    plan_id: str
    tier: str
    price: float = Field(gt=0)
    billing_period: Literal["month", "year"] = "month"
    share: float = Field(1.0, ge=0, description="Share of new subscriptions.")


class Hit(_Strict):
    """A track takes off on a day: its share of all plays rises to `peak_share` within about ten days, then fades slowly."""

    happens_on: date
    peak_share: float = Field(0.05, gt=0, lt=0.5)


class Outage(_Strict):
    """The hours from `from_hour` to `to_hour` (local, exclusive) of a day are missing: nothing of them was ever recorded."""

    happens_on: date
    from_hour: int = Field(ge=0, le=23)
    to_hour: int = Field(ge=1, le=24)


class BotFarm(_Strict):
    """A few accounts play one artist all day, each track just long enough to count as a stream."""

    from_on: date
    to_on: date = Field(description="Last day (inclusive).")
    accounts: int = Field(10, ge=1)
    plays_a_day: int = Field(250, ge=1, description="Of each account.")


class PriceChange(_Strict):
    """One plan costs `ratio` times as much from a day on; its payers cancel more readily in the 45 days after."""

    happens_on: date
    plan_id: str
    ratio: float = Field(gt=0)


class Experiment(_Strict):
    """Half of those who sign up in a time see a treatment that raises the logit of the trial's conversion by `effect`."""

    experiment_id: str
    from_on: date
    to_on: date = Field(description="Last day (inclusive).")
    effect: float


class RightsTransfer(_Strict):
    """An artist's recordings pass to another holder on a day."""

    happens_on: date


class Shortfall(_Strict):
    """A service's statement of a month (its last day) reports only `ratio` of the streams of one track."""

    period_ends_on: date
    service: str = Field(description="One of the world's platforms.")
    ratio: float = Field(gt=0, lt=1)


class Events(_Strict):
    """What is planted in the world; all of it stands in the answer sheet."""

    hits: tuple[Hit, ...] = ()
    outages: tuple[Outage, ...] = ()
    bot_farms: tuple[BotFarm, ...] = ()
    price_changes: tuple[PriceChange, ...] = ()
    experiments: tuple[Experiment, ...] = ()
    rights_transfers: tuple[RightsTransfer, ...] = ()
    shortfalls: tuple[Shortfall, ...] = ()

    def days(self) -> tuple[date, ...]:
        """Every day on which something is planted to happen, begin or end."""
        planted = (event for name in type(self).model_fields for event in getattr(self, name))
        return tuple(value for event in planted for value in event.__dict__.values() if isinstance(value, date))


class Damage(_Strict):
    """How deliveries go wrong, as shares of a day's plays."""

    late: float = Field(0.02, ge=0, lt=0.5, description="Offline plays, delivered 1 to 10 days after they were played.")
    repeated: float = Field(0.003, ge=0, lt=0.5, description="Rows that stand twice in their delivery, and again as many in the next.")
    corrected: float = Field(0.0005, ge=0, lt=0.5, description="Rows that the next delivery brings again with another duration.")
    broken: float = Field(0.0005, ge=0, lt=0.5, description="Rows that cannot be taken: bad instants, durations, identifiers, lines.")


class WorldParameters(_Strict):
    """One world. The same parameters give the same bytes in every process."""

    seed: int = 1
    begins_on: date = date(2026, 3, 1)
    days: int = Field(120, ge=1, le=20_000)
    time_zone: str = "Europe/Paris"
    currency: str = Field("EUR", pattern=r"^[A-Z]{3}$")
    countries: tuple[Country, ...] = (Country(code="FR", share=1.0, currency="EUR"),)
    genres: Mapping[str, float] = Field(default_factory=lambda: dict.fromkeys(GENRES, 1.0), description="Genre: share of the catalogue.")
    listeners: int = Field(1_000, ge=1, description="Accounts by the end of the world.")
    existing: float = Field(0.6, ge=0, le=1, description="Share of them that is there when the world begins.")
    artists: int = Field(200, ge=1)
    tracks: int = Field(1_500, ge=1)
    unlabelled: float = Field(0.1, ge=0, lt=1, description="Share of tracks whose genre the source does not know.")
    separation: float = Field(1.0, gt=0, description="How far the genres' sounds stand apart; 1 lets about four in five be told by ear.")
    sessions_a_day: float = Field(0.55, gt=0, description="Mean sessions of a listener and day.")
    plays_a_session: float = Field(6.0, ge=1)
    ad_ecpm: float = Field(4.5, ge=0, description="Revenue of a thousand impressions, in the tenant's currency.")
    skip_ratio: float = Field(0.25, gt=0, lt=1)
    has_subscriptions: bool = True
    plans: tuple[Plan, ...] = (
        Plan(plan_id="premium-monthly", tier="premium", price=11.99, share=0.66),
        Plan(plan_id="family-monthly", tier="family", price=18.99, share=0.16),
        Plan(plan_id="student-monthly", tier="student", price=5.99, share=0.12),
        Plan(plan_id="premium-yearly", tier="premium", price=119.0, billing_period="year", share=0.06),
    )
    churn: float = Field(1.0, gt=0, description="Odds of cancelling, against a usual service.")
    platforms: Mapping[str, float] = Field(
        default_factory=lambda: {"ios": 0.34, "android": 0.36, "web": 0.1, "desktop": 0.1, "speaker": 0.07, "tv": 0.03}
    )
    holders: int = Field(12, ge=1, description="Rights holders beside the tenant itself.")
    owns_rights: bool = Field(False, description="The tenant is a label: it holds a share of every track.")
    holder_name: str = "Own catalogue"
    listener_prefix: str = "u"
    track_prefix: str = "t"
    events: Events = Field(default_factory=Events)
    damage: Damage = Field(default_factory=Damage)

    @property
    def last_day(self) -> date:
        """The last day."""
        return self.begins_on + timedelta(days=self.days - 1)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        unknown = sorted(set(self.genres) - set(GENRES))
        if unknown or not self.genres:
            raise ValueError(f"unknown genres {unknown}; there are {', '.join(GENRES)}")
        plans = {plan.plan_id for plan in self.plans}
        wrong = sorted({change.plan_id for change in self.events.price_changes} - plans)
        if wrong:
            raise ValueError(f"prices change of plans that do not exist: {wrong}")
        outside = sorted({day for day in self.events.days() if not self.begins_on <= day <= self.last_day})
        if outside:
            raise ValueError(f"planted outside of the world's days: {', '.join(map(str, outside))}")
        if self.artists > self.tracks:
            raise ValueError("every artist needs a track: there are more artists than tracks")
        return self


@cache
def demo_worlds() -> Mapping[str, WorldParameters]:
    """The demo tenants' worlds by slug, from `demo.yml`. Raises ValidationError if that file is wrong."""
    document = yaml.safe_load(DEMO.read_text(encoding="utf-8"))
    return {slug: WorldParameters.model_validate(values) for slug, values in document.items()}
