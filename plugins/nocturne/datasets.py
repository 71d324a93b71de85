"""One declaration a table: what the house calls it, its columns, its key, its place in time, and what it knows of people.

From a declaration come the Delta schema (`lake`), the warehouse's DDL (`warehouse`), dbt's source YAML (a test holds them equal), JSON
Schema for producers (`json_schema`) and the pydantic model of one row (`row_model`).

Kinds
    event      has an instant; silver is partitioned by the event date, the tenant's local calendar day of that instant
    reference  has no event date; the newest content of a key stands. With `valid_from_on`, one key has several rows, each valid
               from its date (inclusive) to `valid_to_on` (exclusive, or open)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, create_model

from nocturne.codes import COUNTRY, CURRENCY, GTIN, ISRC, ISWC, TERRITORY, Code


class Type(StrEnum):
    """The types that a column may have; the value is DuckDB's name of it."""

    TEXT = "VARCHAR"
    INTEGER = "BIGINT"
    NUMBER = "DOUBLE"
    MONEY = "DECIMAL(18,6)"
    BOOLEAN = "BOOLEAN"
    INSTANT = "TIMESTAMPTZ"
    DATE = "DATE"


class Personal(StrEnum):
    """What a column knows of a person, and so what silver does with it."""

    NO = "no"
    IDENTIFIER = "identifier"  # silver holds HMAC-SHA256(tenant key, value) in `<name without _id>_key`
    DIRECT = "direct"  # names, e-mails, addresses: never pass silver
    ATTRIBUTE = "attribute"  # describes a person (country, birth year): stays, and goes when the person goes


_POSTGRES = {
    Type.TEXT: "text",
    Type.INTEGER: "bigint",
    Type.NUMBER: "double precision",
    Type.MONEY: "numeric(18,6)",
    Type.BOOLEAN: "boolean",
    Type.INSTANT: "timestamptz",
    Type.DATE: "date",
}
_PYTHON: Mapping[Type, Any] = {
    Type.TEXT: str,
    Type.INTEGER: int,
    Type.NUMBER: float,
    Type.MONEY: Decimal,
    Type.BOOLEAN: bool,
    Type.INSTANT: AwareDatetime,
    Type.DATE: date,
}


@dataclass(frozen=True)
class Column:
    """One column as a source delivers it (after its mapping).

    `required`: a row without it is quarantined. `accepted`: a row with another value is quarantined. `minimum`/`maximum`: inclusive
    bounds, a row outside is quarantined. `code`: bronze writes the value as that code is written, and a row with no such code is
    quarantined.
    """

    name: str
    type: Type
    description: str
    required: bool = False
    personal: Personal = Personal.NO
    accepted: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    code: Code | None = None

    @property
    def silver_name(self) -> str | None:
        """Its name from silver on: `listener_id` becomes `listener_key`; None if it does not pass silver."""
        if self.personal is Personal.DIRECT:
            return None
        if self.personal is Personal.IDENTIFIER:
            return self.name.removesuffix("_id") + "_key"
        return self.name

    @property
    def postgres_type(self) -> str:
        """Its type in the warehouse."""
        return _POSTGRES[self.type]


@dataclass(frozen=True)
class Dataset:
    """One table. `instant` names the INSTANT or DATE column that an event's date comes from; `key` the columns that identify a row."""

    name: str
    kind: Literal["event", "reference"]
    description: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    instant: str | None = None
    domain: str = "catalogue"
    by_name: Mapping[str, Column] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse a declaration that contradicts itself."""
        object.__setattr__(self, "by_name", {column.name: column for column in self.columns})
        missing = [name for name in (*self.key, *([self.instant] if self.instant else [])) if name not in self.by_name]
        if missing or len(self.by_name) != len(self.columns) or (self.kind == "event") != (self.instant is not None):
            raise ValueError(f"dataset {self.name}: key, instant or kind do not fit its columns ({missing})")
        if any(not self.by_name[name].required for name in self.key):
            raise ValueError(f"dataset {self.name}: key columns must be required")
        if any(column.code and column.type is not Type.TEXT for column in self.columns):
            raise ValueError(f"dataset {self.name}: a code is a text")

    @property
    def event_date(self) -> str | None:
        """The event date's column: `played_at` gives `played_on`. None for reference datasets."""
        if self.instant is None:
            return None
        return self.instant.removesuffix("_at").removesuffix("_on") + "_on"

    @property
    def silver_columns(self) -> tuple[tuple[str, Type, str], ...]:
        """(name, type, description) of silver and of the warehouse: the columns, the event date where it is computed, `received_on`."""
        kept = [(c.silver_name, _silver_type(c), c.description) for c in self.columns if c.silver_name]
        if self.event_date and self.event_date not in self.by_name:
            kept.append((self.event_date, Type.DATE, f"Event date: local calendar day of {self.instant} in the tenant's time zone."))
        kept.append(("received_on", Type.DATE, "Business day on which this content first arrived."))
        return tuple(kept)

    @property
    def silver_key(self) -> tuple[str, ...]:
        """The key's column names from silver on."""
        return tuple(self.by_name[name].silver_name or name for name in self.key)

    @property
    def postgres_columns(self) -> tuple[tuple[str, str, str], ...]:
        """(name, PostgreSQL type, description) of the warehouse table."""
        return tuple((name, _POSTGRES[kind], text) for name, kind, text in self.silver_columns)

    def json_schema(self) -> dict[str, Any]:
        """JSON Schema (2020-12) of one row, for those who produce it."""
        return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | row_model(self.name).model_json_schema()


def _silver_type(column: Column) -> Type:
    return Type.TEXT if column.personal is Personal.IDENTIFIER else column.type


@cache
def row_model(name: str) -> type[BaseModel]:
    """The pydantic model of one row of dataset `name`; the same rules that silver applies."""
    dataset = DATASETS[name]
    fields: dict[str, Any] = {}
    for column in dataset.columns:
        kind: Any = Literal[column.accepted] if column.accepted else _coded(column.code) if column.code else _PYTHON[column.type]
        constraints: dict[str, Any] = {"description": column.description}
        if column.minimum is not None:
            constraints["ge"] = column.minimum
        if column.maximum is not None:
            constraints["le"] = column.maximum
        if column.required and column.type is Type.TEXT and not column.accepted and not column.code:
            constraints["min_length"] = 1
        if column.required:
            fields[column.name] = (kind, Field(**constraints))
        else:
            fields[column.name] = (kind | None, Field(None, **constraints))
    title = "".join(part.capitalize() for part in name.split("_"))
    return create_model(title, __config__=ConfigDict(frozen=True, extra="forbid"), __doc__=dataset.description, **fields)


def _coded(code: Code) -> Any:
    """A text that is conformed first, as bronze does, and then must be such a code, as silver wants it."""

    def conformed(value: Any) -> Any:
        return code.conform(value) if isinstance(value, str) else value

    def checked(value: str) -> str:
        if not code.is_right(value):
            raise ValueError(f"is no {code.title}")
        return value

    return Annotated[str, StringConstraints(pattern=code.pattern), AfterValidator(checked), BeforeValidator(conformed)]


def _text(name: str, description: str, **more: Any) -> Column:
    return Column(name, Type.TEXT, description, **more)


def _id(name: str, description: str, **more: Any) -> Column:
    return Column(name, Type.TEXT, description, required=True, **more)


def _at(name: str, description: str, **more: Any) -> Column:
    return Column(name, Type.INSTANT, description, **more)


def _on(name: str, description: str, **more: Any) -> Column:
    return Column(name, Type.DATE, description, **more)


def _integer(name: str, description: str, **more: Any) -> Column:
    return Column(name, Type.INTEGER, description, **more)


def _number(name: str, description: str, **more: Any) -> Column:
    return Column(name, Type.NUMBER, description, **more)


def _money(name: str, description: str, **more: Any) -> Column:
    return Column(name, Type.MONEY, description, **more)


def _flag(name: str, description: str, **more: Any) -> Column:
    return Column(name, Type.BOOLEAN, description, **more)


_LISTENER = _id("listener_id", "The service's own identifier of the listener.", personal=Personal.IDENTIFIER)
_MAYBE_LISTENER = _text("listener_id", "The service's own identifier of the listener.", personal=Personal.IDENTIFIER)
_COUNTRY = _text("country", "ISO 3166-1 alpha-2 code of the territory.", code=COUNTRY)
_CURRENCY = _text("currency", "ISO 4217 code.", required=True, code=CURRENCY)
_VALID = (
    _on("valid_from_on", "First day of validity (inclusive).", required=True),
    _on("valid_to_on", "First day on which it no longer holds (exclusive); NULL: still valid."),
)

_CATALOGUE = (
    Dataset(
        "plays",
        "event",
        "One playback attempt.",
        ("play_id",),
        (
            _id("play_id", "The source's identifier of the attempt."),
            _at("played_at", "UTC instant at which playback started.", required=True),
            _LISTENER,
            _id("track_id", "The track that was played."),
            _integer(
                "ms_played", "Milliseconds played; 0 for an attempt that never sounded.", required=True, minimum=0, maximum=86_400_000
            ),
            _text("session_id", "The source's own session; ours are computed from gaps."),
            _text(
                "reason_end",
                "Why playback ended.",
                accepted=("track_done", "forward", "back", "stop", "track_change", "network", "error", "session_end"),
            ),
            _text(
                "context_type",
                "Where the play started from.",
                accepted=(
                    "search",
                    "library",
                    "own_playlist",
                    "artist",
                    "album",
                    "editorial_playlist",
                    "algorithmic_playlist",
                    "radio",
                    "autoplay",
                ),
            ),
            _text("context_id", "The playlist, release or artist that it started from."),
            _COUNTRY,
            _text("platform", "Client: ios, android, web, desktop, speaker, car, tv or the source's own word."),
            _text("tier", "The listener's tier at that moment: free, trial, premium, family, student or the source's own word."),
            _flag("is_offline", "Played without a connection and delivered later."),
            _flag("is_estimated", "ms_played was estimated by the rule that the source declares."),
        ),
        instant="played_at",
        domain="engagement",
    ),
    Dataset(
        "interactions",
        "event",
        "One thing that a listener did beside playing: a save, a share, a follow, a search, a page.",
        ("interaction_id",),
        (
            _id("interaction_id", "The source's identifier."),
            _at("interacted_at", "UTC instant.", required=True),
            _MAYBE_LISTENER,
            _text(
                "interaction",
                "What was done.",
                required=True,
                accepted=(
                    "save",
                    "unsave",
                    "share",
                    "follow",
                    "unfollow",
                    "search",
                    "page_view",
                    "thumbs_up",
                    "thumbs_down",
                    "playlist_add",
                    "playlist_remove",
                    "upgrade",
                    "downgrade",
                    "cancel",
                    "error",
                    "login",
                    "logout",
                    "settings",
                    "help",
                    "advert",
                ),
            ),
            _text("track_id", "The track concerned."),
            _text("artist_id", "The artist concerned."),
            _text("playlist_id", "The playlist concerned."),
            _text("page", "The page or screen, in the source's own words."),
            _text("session_id", "The source's own session."),
            _COUNTRY,
            _text("platform", "Client, as in plays."),
        ),
        instant="interacted_at",
        domain="engagement",
    ),
    Dataset(
        "subscription_events",
        "event",
        "One change of a subscription's state.",
        ("event_id",),
        (
            _id("event_id", "The source's identifier."),
            _at("occurred_at", "UTC instant.", required=True),
            _LISTENER,
            _id("subscription_id", "The subscription."),
            _text(
                "event_type",
                "What happened.",
                required=True,
                accepted=(
                    "trial_started",
                    "started",
                    "renewed",
                    "plan_changed",
                    "auto_renew_off",
                    "payment_failed",
                    "ended",
                    "reactivated",
                ),
            ),
            _text("plan_id", "The plan after the event.", required=True),
            _text("previous_plan_id", "The plan before a plan_changed."),
            _on("period_from_on", "First day of the paid (or trial) period that the event opens."),
            _on("period_to_on", "First day after that period."),
            _text("end_reason", "Of `ended`.", accepted=("voluntary", "payment_failure", "trial_not_converted")),
        ),
        instant="occurred_at",
        domain="subscriptions",
    ),
    Dataset(
        "payments",
        "event",
        "One attempt to collect money from a listener, or a refund.",
        ("payment_id",),
        (
            _id("payment_id", "The source's identifier."),
            _at("paid_at", "UTC instant.", required=True),
            _LISTENER,
            _text("subscription_id", "The subscription paid for."),
            _text("status", "Outcome.", required=True, accepted=("succeeded", "failed", "refunded")),
            _money("amount", "Gross amount; a refund is positive with status refunded.", required=True, minimum=0),
            _CURRENCY,
            _money("tax_amount", "Tax within the amount.", minimum=0),
            _COUNTRY,
            _text("method", "card, wallet, invoice, store or the source's own word."),
        ),
        instant="paid_at",
        domain="revenue",
    ),
    Dataset(
        "ad_impressions",
        "event",
        "One advertisement that was shown or heard.",
        ("impression_id",),
        (
            _id("impression_id", "The source's identifier."),
            _at("shown_at", "UTC instant.", required=True),
            _MAYBE_LISTENER,
            _text("campaign_id", "The campaign."),
            _money("revenue_amount", "Revenue of this impression.", required=True, minimum=0),
            _CURRENCY,
            _COUNTRY,
            _flag("is_clicked", "The listener followed it."),
        ),
        instant="shown_at",
        domain="revenue",
    ),
    Dataset(
        "exposures",
        "event",
        "One listener met one variant of an experiment.",
        ("experiment_id", "listener_id"),
        (
            _id("experiment_id", "The experiment."),
            _LISTENER,
            _text("variant", "The variant met.", required=True),
            _at("exposed_at", "UTC instant of the first exposure.", required=True),
        ),
        instant="exposed_at",
        domain="acquisition",
    ),
    Dataset(
        "touchpoints",
        "event",
        "One contact of a (future) listener with marketing.",
        ("touchpoint_id",),
        (
            _id("touchpoint_id", "The source's identifier."),
            _at("touched_at", "UTC instant.", required=True),
            _LISTENER,
            _text("channel", "Channel: search, social, email, affiliate, referral, store, direct or the source's own word.", required=True),
            _text("campaign_id", "The campaign."),
            _money("cost_amount", "Cost of the contact.", minimum=0),
            _text("currency", "ISO 4217 code of the cost.", code=CURRENCY),
        ),
        instant="touched_at",
        domain="acquisition",
    ),
    Dataset(
        "sales",
        "event",
        "Units sold (downloads, vinyl, CDs).",
        ("sale_id",),
        (
            _id("sale_id", "The source's identifier."),
            _on("sold_on", "Day of the sale.", required=True),
            _text("release_id", "The release sold."),
            _text("track_id", "The track sold."),
            _integer("unit_count", "Units; negative for returns.", required=True),
            _money("net_amount", "Net amount of all units.", required=True),
            _CURRENCY,
            _COUNTRY,
            _text("format", "Format.", accepted=("album_download", "track_download", "cd", "vinyl", "cassette", "other")),
        ),
        instant="sold_on",
        domain="rights",
    ),
    Dataset(
        "statements",
        "event",
        "One line of a royalty statement as a service or distributor delivered it.",
        ("line_id",),
        (
            _id("line_id", "The line's identifier within its statement."),
            _on("period_ends_on", "Last day of the statement's period.", required=True),
            _id("statement_id", "The statement."),
            _text("track_id", "The track."),
            _text("isrc", "ISRC of the recording.", code=ISRC),
            _text("service", "The service reporting."),
            _COUNTRY,
            _integer("stream_count", "Streams reported.", minimum=0),
            _money("net_amount", "Net amount due.", required=True),
            _CURRENCY,
        ),
        instant="period_ends_on",
        domain="rights",
    ),
    Dataset(
        "chart_entries",
        "event",
        "One position of one chart.",
        ("chart", "charted_on", "position"),
        (
            _id("chart", "The chart's name."),
            _on("charted_on", "Day (or first day of the week) of the chart.", required=True),
            _integer("position", "Position, 1 is the top.", required=True, minimum=1, maximum=1000),
            _text("track_name", "Title as charted.", required=True),
            _text("artist_name", "Artist as charted."),
            _text("track_id", "The track, where known."),
            _integer("stream_count", "Streams reported.", minimum=0),
            _COUNTRY,
        ),
        instant="charted_on",
        domain="content",
    ),
    Dataset(
        "playlist_tracks",
        "event",
        "A track entered or left a playlist.",
        ("change_id",),
        (
            _id("change_id", "The source's identifier."),
            _at("changed_at", "UTC instant.", required=True),
            _id("playlist_id", "The playlist."),
            _id("track_id", "The track."),
            _text("change", "What happened.", required=True, accepted=("added", "removed")),
            _integer("position", "Position in the playlist, 1 is the first.", minimum=1),
        ),
        instant="changed_at",
        domain="content",
    ),
    Dataset(
        "predicted_genres",
        "event",
        "A genre that a model gave to a track: a recorded model output.",
        ("track_id", "predicted_on"),
        (
            _id("track_id", "The track."),
            _on("predicted_on", "Day of the prediction.", required=True),
            _text("genre", "The genre.", required=True),
            _number("probability", "The model's probability of it.", minimum=0, maximum=1),
            _text("model_version", "Registry version of the model.", required=True),
        ),
        instant="predicted_on",
        domain="content",
    ),
    Dataset(
        "artificial_streams",
        "event",
        "A play that a rule or model calls artificial: a recorded model output.",
        ("play_id",),
        (
            _id("play_id", "The play."),
            _on("flagged_on", "Event date of the play.", required=True),
            _text("reason", "The rule or model, and why.", required=True),
            _number("score", "Confidence.", minimum=0, maximum=1),
            _text("model_version", "Version of the rule or model.", required=True),
        ),
        instant="flagged_on",
        domain="engagement",
    ),
    Dataset(
        "tracks",
        "reference",
        "One recording.",
        ("track_id",),
        (
            _id("track_id", "The track."),
            _text("title", "Title.", required=True),
            _text("artist_id", "Main artist."),
            _text("release_id", "The release it first stood on."),
            _text("isrc", "ISRC of the recording.", code=ISRC),
            _text("iswc", "ISWC of the work that it is a recording of.", code=ISWC),
            _integer("duration_ms", "Duration in milliseconds.", minimum=1),
            _text("genre", "Genre, where the source knows it."),
            _on("released_on", "Day of release."),
            _flag("is_explicit", "Explicit lyrics."),
            _number("tempo", "Beats a minute.", minimum=0),
            _number("energy", "0 to 1.", minimum=0, maximum=1),
            _number("danceability", "0 to 1.", minimum=0, maximum=1),
            _number("valence", "0 to 1.", minimum=0, maximum=1),
            _number("acousticness", "0 to 1.", minimum=0, maximum=1),
            _number("instrumentalness", "0 to 1.", minimum=0, maximum=1),
            _number("speechiness", "0 to 1.", minimum=0, maximum=1),
            _number("liveness", "0 to 1.", minimum=0, maximum=1),
            _number("loudness", "Decibels, about -60 to 0."),
        ),
    ),
    Dataset(
        "artists",
        "reference",
        "One artist.",
        ("artist_id",),
        (
            _id("artist_id", "The artist."),
            _text("artist_name", "Name as shown.", required=True),
            _text("country", "ISO 3166-1 alpha-2 code of origin.", code=COUNTRY),
            _text("genre", "Main genre."),
        ),
    ),
    Dataset(
        "releases",
        "reference",
        "One release (album, EP, single).",
        ("release_id",),
        (
            _id("release_id", "The release."),
            _text("title", "Title.", required=True),
            _text("artist_id", "Main artist."),
            _text("upc", "UPC or EAN.", code=GTIN),
            _text("release_type", "Type.", accepted=("album", "ep", "single", "compilation")),
            _text("label", "Label."),
            _on("released_on", "Day of release."),
        ),
    ),
    Dataset(
        "playlists",
        "reference",
        "One playlist as it stood on a day; a new day with other followers is a new row.",
        ("playlist_id", "valid_from_on"),
        (
            _id("playlist_id", "The playlist."),
            *_VALID,
            _text("title", "Title.", required=True),
            _text("playlist_type", "Who makes it.", required=True, accepted=("editorial", "algorithmic", "user")),
            _integer("follower_count", "Followers on that day.", minimum=0),
        ),
        domain="content",
    ),
    Dataset(
        "listeners",
        "reference",
        "One listener's account.",
        ("listener_id",),
        (
            _LISTENER,
            _at("signed_up_at", "UTC instant of sign-up."),
            _text("name", "Name.", personal=Personal.DIRECT),
            _text("email", "E-mail address.", personal=Personal.DIRECT),
            _text("country", "ISO 3166-1 alpha-2 code of the home territory.", code=COUNTRY, personal=Personal.ATTRIBUTE),
            _integer("birth_year", "Year of birth.", minimum=1900, maximum=2100, personal=Personal.ATTRIBUTE),
            _text("gender", "As the listener states it.", personal=Personal.ATTRIBUTE),
            _text("channel", "Channel of acquisition."),
        ),
        domain="audience",
    ),
    Dataset(
        "plans",
        "reference",
        "One plan's price in one territory, valid from a day.",
        ("plan_id", "country", "valid_from_on"),
        (
            _id("plan_id", "The plan."),
            _text("country", "ISO 3166-1 alpha-2 code of the territory.", required=True, code=COUNTRY),
            *_VALID,
            _text("tier", "Tier that it gives.", required=True),
            _text("billing_period", "How often it is paid.", required=True, accepted=("month", "year")),
            _money("price_amount", "Price of one billing period.", required=True, minimum=0),
            _CURRENCY,
        ),
        domain="subscriptions",
    ),
    Dataset(
        "rights",
        "reference",
        "Who holds which share of a track in a territory, valid from a day.",
        ("track_id", "holder_id", "territory", "valid_from_on"),
        (
            _id("track_id", "The track."),
            _id("holder_id", "The rights holder."),
            _text("territory", "ISO 3166-1 alpha-2 code, or WW for everywhere else.", required=True, code=TERRITORY),
            *_VALID,
            _text("holder_name", "Name of the rights holder."),
            _number("share_ratio", "Share, 0 to 1; the shares of a track and territory add up to 1.", required=True, minimum=0, maximum=1),
            _flag("is_own", "The tenant itself is the holder."),
        ),
        domain="rights",
    ),
    Dataset(
        "fx_rates",
        "reference",
        "One day's rate of one currency.",
        ("currency", "rated_on"),
        (
            _CURRENCY,
            _on("rated_on", "Day of the rate.", required=True),
            _number("rate", "Units of the tenant's currency for one unit of this one.", required=True, minimum=0),
        ),
        domain="revenue",
    ),
)

DATASETS: Mapping[str, Dataset] = {dataset.name: dataset for dataset in _CATALOGUE}
"""All datasets by name, in the order of the catalogue."""
