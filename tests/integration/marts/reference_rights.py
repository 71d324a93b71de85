"""Payable streams, pools, units and licences once more, in plain Python: it knows the plays that the reference of listening has judged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from tests.integration.marts.world import Row

if TYPE_CHECKING:
    from nocturne.tenants import Tenant
    from tests.integration.marts.reference import Key, Marts, Table

KEYS: dict[str, tuple[str, ...]] = {
    "payable_months": ("month_on", "track_id", "holder_id", "territory", "tier"),
    "royalty_shares": ("month_on", "territory", "tier", "holder_id"),
    "market_months": ("month_on", "territory", "holder_id"),
    "licence_months": ("month_on", "track_id", "holder_id", "licence_territory", "licensed_from_on"),
    "unit_months": ("month_on", "release_id", "artist_id"),
}


def tables(marts: Marts) -> dict[str, Table]:
    """The marts of rights that the tenant has."""
    return _Rights(marts).all()


@dataclass(frozen=True)
class Stream:
    """One stream with all that money asks of it."""

    play: Row
    on: date
    month: date
    territory: str
    tier: str
    is_artificial: bool

    @property
    def track(self) -> str:
        return str(self.play["track_id"])

    @property
    def pool(self) -> tuple[date, str, str]:
        return self.month, self.territory, self.tier


def month_of(on: date) -> date:
    return on.replace(day=1)


def months_before(month: date, count: int) -> date:
    """The first day of the month so many months before (or, negative, after)."""
    year, number = divmod(month.year * 12 + month.month - 1 - count, 12)
    return date(year, number + 1, 1)


def cents_of(parts: dict[str, Fraction]) -> dict[str, Decimal]:
    """Amounts in whole cents that add up to their sum, rounded: what rounding down leaves goes to the largest remainders."""
    total = sum(parts.values(), Fraction(0)) * 100
    whole = int(abs(total) + Fraction(1, 2)) * (1 if total >= 0 else -1)
    exact = {holder: Fraction(round(part * 100 * 10**12), 10**12) for holder, part in parts.items()}
    down = {holder: part.numerator // part.denominator for holder, part in exact.items()}
    for holder in sorted(down, key=lambda holder: (down[holder] - exact[holder], holder))[: whole - sum(down.values())]:
        down[holder] += 1
    return {holder: Decimal(count) / 100 for holder, count in down.items()}


def sixth(value: Decimal) -> Decimal:
    return value.quantize(Decimal("0.000001"), rounding=ROUND_HALF_UP)


class _Rights:
    def __init__(self, marts: Marts) -> None:
        self.marts, self.tenant, self.rows, self.today = marts, marts.tenant, marts.rows, marts.today
        self.streams = list(self._streams()) if marts.has("plays") else []
        self.by_month: dict[tuple[str, date], int] = defaultdict(int)
        for stream in self.streams:
            if not stream.is_artificial:
                self.by_month[stream.track, stream.month] += 1

    def all(self) -> dict[str, Table]:
        found: dict[str, Table] = {}
        if self.marts.has("plays", "rights"):
            found["payable_months"] = self._payable_months()
            found["market_months"] = self._market_months(found["payable_months"])
            found["licence_months"] = self._licence_months()
            if self.marts.has("payments") or self.marts.has("ad_impressions"):
                found["royalty_shares"] = self._royalty_shares(found["payable_months"])
        if self.marts.has("tracks") and (self.marts.has("plays") or self.marts.has("sales")):
            found["unit_months"] = self._unit_months()
        return found

    # streams -------------------------------------------------------------------------------------------------------------
    def _streams(self) -> Iterator[Stream]:
        attempts = {row["play_id"]: row for row in self.rows["plays"]}
        artificial = self._artificial(attempts)
        for play in self.marts.plays:
            if play["is_stream"]:
                tier = attempts[play["play_id"]].get("tier") or "unknown"
                on = play["played_on"]
                yield Stream(play, on, month_of(on), play["country"] or "ZZ", tier, play["play_id"] in artificial)

    def _artificial(self, attempts: dict[str, Row]) -> set[str]:
        """Plays with a part that is flagged on its event date."""
        flags = {(row["play_id"], row["flagged_on"]) for row in self.rows.get("artificial_streams", [])}
        flagged = {key for key, row in attempts.items() if (key, row["played_on"]) in flags}
        joined = {event.id for event in self.marts.joined}
        found: set[str] = set()
        for session in self.marts.sessions:
            begun: dict[str, str] = {}
            for event in (event for event in session.events if event.kind == "play"):
                track = event.row["track_id"]
                if event.id not in joined:
                    begun[track] = event.id
                if event.id in flagged:
                    found.add(begun[track])
        return found

    def held(self, track: str, territory: str, on: date) -> dict[str, tuple[Decimal, list[Row]]]:
        """Holder -> (share, the rights that give it) of a track in a territory on a day; they add up to one."""
        valid = [
            right
            for right in self.rows["rights"]
            if right["track_id"] == track and right["valid_from_on"] <= on < (right.get("valid_to_on") or date.max)
        ]
        own = [right for right in valid if right["territory"] == territory]
        found: dict[str, tuple[Decimal, list[Row]]] = {}
        rest = Decimal(1)
        for right in own or [right for right in valid if right["territory"] == "WW"]:
            share, rights = found.get(right["holder_id"], (Decimal(0), []))
            found[right["holder_id"]] = share + Decimal(str(right["share_ratio"])), [*rights, right]
            rest -= Decimal(str(right["share_ratio"]))
        return found | ({"(unassigned)": (rest, [])} if rest else {})

    def eligibility(self, track: str, month: date) -> str | None:
        """Why a track is not paid for in a month; None: it is."""
        least = self.marts.rule("payable_min_streams", month)
        if sum(self.by_month[track, months_before(month, n)] for n in range(12)) < least:
            return f"fewer than {least} streams in the trailing 12 months"
        row = self.marts.tracks.get(track, {})
        is_noise = (row.get("genre") or "").lower() in self.marts.rule("noise_genres", month).split(", ")
        if is_noise and (row.get("duration_ms") or 0) < self.marts.rule("noise_min_ms", month):
            return "functional noise that is too short, or of unknown length"
        return None

    # payable streams -----------------------------------------------------------------------------------------------------
    def _payable_months(self) -> Table:
        sums: dict[Key, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
        for stream in self.streams:
            for holder, (share, _) in self.held(stream.track, stream.territory, stream.on).items():
                numbers = sums[stream.month, stream.track, holder, stream.territory, stream.tier]
                numbers["all"] += share
                numbers["artificial" if stream.is_artificial else "genuine"] += share
                if stream.play["is_intentional"] and not stream.is_artificial:
                    numbers["intentional"] += share
        found: Table = {}
        for key, numbers in sums.items():
            reason = self.eligibility(key[1], key[0])
            found[key] = {
                "stream_count": sixth(numbers["all"]),
                "artificial_count": sixth(numbers["artificial"]) if self.tenant.has("artificial_streams") else None,
                "is_eligible": reason is None,
                "not_eligible_reason": reason,
                "payable_count": Decimal(0) if reason else sixth(numbers["genuine"]),
                "payable_intentional_count": Decimal(0) if reason else sixth(numbers["intentional"]),
            }
        return found

    # markets, licences, units --------------------------------------------------------------------------------------------
    def _market_months(self, payable: Table) -> Table:
        sums: dict[Key, Decimal] = defaultdict(Decimal)
        markets: dict[Key, Decimal] = defaultdict(Decimal)
        for (month, _, holder, territory, _), row in payable.items():
            sums[month, territory, holder] += row["stream_count"]
            markets[month, territory] += row["stream_count"]
        return {
            key: {
                "stream_count": streams,
                "market_share_ratio": (streams / markets[key[:2]]).quantize(Decimal("0.000000001"), rounding=ROUND_HALF_UP)
                if self.tenant.sees_whole_market
                else None,
            }
            for key, streams in sums.items()
        }

    def _licence_months(self) -> Table:
        used: dict[Key, list[tuple[Stream, Decimal]]] = defaultdict(list)
        for stream in self.streams:
            for holder, (_, rights) in self.held(stream.track, stream.territory, stream.on).items():
                for right in rights:
                    key = stream.month, stream.track, holder, right["territory"], right["valid_from_on"]
                    used[key].append((stream, Decimal(str(right["share_ratio"]))))
        knows_artificial = self.tenant.has("artificial_streams")
        return {
            key: {
                "stream_count": len(streams),
                "artificial_count": sum(stream.is_artificial for stream, _ in streams) if knows_artificial else None,
                "share_count": sixth(sum((share for _, share in streams), Decimal(0))),
                "territory_count": len({stream.territory for stream, _ in streams}),
                "first_streamed_on": min(stream.on for stream, _ in streams),
                "last_streamed_on": max(stream.on for stream, _ in streams),
            }
            for key, streams in used.items()
        }

    def _unit_months(self) -> Table:
        releases = {row["release_id"]: row for row in self.rows.get("releases", [])}
        sums: dict[Key, dict[str, Fraction]] = defaultdict(lambda: defaultdict(Fraction))
        for row in self.rows.get("sales", []):
            track = self.marts.tracks.get(row.get("track_id") or "", {})
            release = row.get("release_id") or track.get("release_id")
            artist = releases.get(release or "", {}).get("artist_id") or track.get("artist_id")
            has_other_format = row.get("format") not in {None, "other", "track_download"}
            is_track = row.get("format") == "track_download" or (bool(row.get("track_id")) and not has_other_format)
            numbers = sums[month_of(row["sold_on"]), release or "unknown", artist or "unknown"]
            numbers["tracks" if is_track else "albums"] += row["unit_count"]
            numbers["units"] += Fraction(row["unit_count"], 10 if is_track else 1)
        for stream in self.streams:
            track = self.marts.tracks.get(stream.track, {})
            numbers = sums[stream.month, track.get("release_id") or "unknown", track.get("artist_id") or "unknown"]
            kind = {"unknown": "untold", "free": "ad", "trial": "ad"}.get(stream.tier, "paid")
            numbers[kind] += 1
            numbers["artificial"] += stream.is_artificial
            if kind != "untold":
                numbers["units"] += Fraction(1, self.marts.rule(f"{kind}_per_unit", stream.on))
        sells, plays = self.tenant.has("sales"), self.tenant.has("plays")
        return {
            key: {
                "album_sale_count": int(numbers["albums"]) if sells else None,
                "track_sale_count": int(numbers["tracks"]) if sells else None,
                "paid_stream_count": int(numbers["paid"]) if plays else None,
                "ad_stream_count": int(numbers["ad"]) if plays else None,
                "untold_stream_count": int(numbers["untold"]) if plays else None,
                "artificial_count": int(numbers["artificial"]) if self.tenant.has("plays", "artificial_streams") else None,
                "unit_count": sixth(_decimal(numbers["units"])),
            }
            for key, numbers in sums.items()
        }

    # royalties -----------------------------------------------------------------------------------------------------------
    def _royalty_shares(self, payable: Table) -> Table:
        found: Table = {}
        fees = self._fees()
        boosted = self._boosted()
        for pool, payers in sorted(fees.items()):
            if months_before(pool[0], -1) - timedelta(1) > self.today:
                continue
            holders: dict[str, Fraction] = defaultdict(Fraction)
            weighted: dict[str, Fraction] = defaultdict(Fraction)
            for (month, track, holder, territory, tier), row in payable.items():
                if (month, territory, tier) == pool and row["payable_count"]:
                    artist = self.marts.tracks.get(track, {}).get("artist_id")
                    twice = Fraction(row["payable_count"]) + Fraction(row["payable_intentional_count"])
                    holders[holder] += Fraction(row["payable_count"])
                    weighted[holder] += twice * (2 if (artist, month) in boosted else 1)
            amount = sum((payer["pool"] for payer in payers.values()), Fraction(0))
            pro_rata = self._divided(amount, holders)
            own = self._user_centric(pool, payers, holders)
            artists = self._divided(amount, weighted)
            for holder in pro_rata:
                found[*pool, holder] = {
                    "net_amount": sixth(_decimal(sum((payer["net"] for payer in payers.values()), Fraction(0)))),
                    "pool_amount": sum(cents_of({"": amount}).values()),
                    "payable_count": _decimal(holders[holder]),
                    "weighted_count": _decimal(weighted[holder]),
                    "pro_rata_amount": cents_of(pro_rata)[holder],
                    "user_centric_amount": cents_of(own)[holder],
                    "artist_centric_amount": cents_of(artists)[holder],
                    "unconverted_count": sum(payer["unconverted"] for payer in payers.values()),
                }
        return found

    @staticmethod
    def _divided(amount: Fraction, weights: dict[str, Fraction]) -> dict[str, Fraction]:
        total = sum(weights.values(), Fraction(0))
        if not total:
            return {"(unassigned)": amount}
        return {holder: amount * weight / total for holder, weight in weights.items()}

    def _user_centric(self, pool: Key, payers: dict[str, Any], holders: dict[str, Fraction]) -> dict[str, Fraction]:
        """Each payer's fee goes where the payer's own streams went; that of a payer without streams goes where all streams went."""
        found = dict.fromkeys(self._divided(Fraction(0), holders), Fraction(0))
        rest = Fraction(0)
        for listener, payer in payers.items():
            own: dict[str, Fraction] = defaultdict(Fraction)
            for stream in self.streams:
                if (
                    stream.pool == pool
                    and stream.play["listener_key"] == listener
                    and not stream.is_artificial
                    and self.eligibility(stream.track, stream.month) is None
                ):
                    for holder, (share, _) in self.held(stream.track, stream.territory, stream.on).items():
                        own[holder] += Fraction(share)
            if own:
                for holder, part in self._divided(payer["pool"], own).items():
                    found[holder] += part
            else:
                rest += payer["pool"]
        for holder, part in self._divided(rest, holders).items():
            found[holder] += part
        return found

    def _boosted(self) -> set[tuple[str, date]]:
        """The artists whose streams count twice in a month."""
        heard: dict[tuple[str, date], list[str]] = defaultdict(list)
        for stream in self.streams:
            if stream.play["artist_id"] and not stream.is_artificial:
                heard[stream.play["artist_id"], stream.month].append(stream.play["listener_key"])
        return {
            (artist, month)
            for (artist, month), listeners in heard.items()
            if len(listeners) >= self.marts.rule("boost_min_streams", month)
            and len(set(listeners)) >= self.marts.rule("boost_min_listeners", month)
        }

    def _fees(self) -> dict[tuple[date, str, str], dict[str, Any]]:
        """Pool -> payer ('' for advertisements) -> what of the net revenue is theirs, and what of that is the pool's."""
        tiers = self._period_tiers()
        found: dict[tuple[date, str, str], dict[str, Any]] = {}
        for row in self.rows.get("payments", []):
            if row["status"] != "failed":
                net = Fraction(str(row["amount"])) - Fraction(str(row.get("tax_amount") or 0))
                begun = [
                    (on, tier)
                    for (subscription, on), tier in tiers.items()
                    if subscription == row.get("subscription_id") and on <= row["paid_on"]
                ]
                tier = max(begun, key=lambda one: one[0])[1] if begun else None
                self._take(
                    found, row, row["paid_on"], tier or "unknown", row.get("listener_key"), -net if row["status"] == "refunded" else net
                )
        for row in self.rows.get("ad_impressions", []):
            self._take(found, row, row["shown_on"], "free", "", Fraction(str(row["revenue_amount"])))
        return found

    def _period_tiers(self) -> dict[tuple[str, date], str | None]:
        """(subscription, first day of a period) -> the tier that the period gives."""
        if not self.marts.has("subscription_events", "plans"):
            return {}
        accounts = {row["listener_key"]: row.get("country") for row in self.rows.get("listeners", [])}
        found = {}
        for key, period in self.marts.periods().items():
            plan = self.marts.plan(period["plan_id"], accounts.get(period["listener_key"]), period["period_from_on"])
            found[key[0], key[1]] = plan["tier"] if plan else None
        return found

    def _take(self, found: dict[tuple[date, str, str], dict[str, Any]], row: Row, on: date, tier: str, payer: str, net: Fraction) -> None:
        numbers = found.setdefault((month_of(on), row.get("country") or "ZZ", tier), {}).setdefault(
            payer, {"net": Fraction(0), "pool": Fraction(0), "unconverted": 0}
        )
        rate = self.marts.rate(row["currency"], on)
        if rate is None:
            numbers["unconverted"] += 1
            return
        numbers["net"] += net * Fraction(rate)
        numbers["pool"] += net * Fraction(rate) * Fraction(str(self.marts.rule("pool_share", on)))


def _decimal(value: Fraction) -> Decimal:
    """Exact where the fraction ends within the digits that a decimal has."""
    return Decimal(value.numerator) / Decimal(value.denominator)


class Statements:
    """What was issued, night by night: it remembers, as statements do."""

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant
        self.issued: set[date] = set()
        self.lines: Table = {}

    def issue(self, today: date, shares: Table) -> None:
        """Issue what is due after a night, of what was true then: (month, territory, tier, holder) -> amounts."""
        begins, due = month_of(self.tenant.begins_on), []
        while begins <= today:
            ends = months_before(begins, -1) - timedelta(1)
            final = next(one.value for one in reversed(self.tenant.rules.final_after_days) if one.since <= ends)
            if ends + timedelta(final) <= today and begins not in self.issued:
                due.append(begins)
            begins = months_before(begins, -1)
        if due:
            self._adjust(due[0], shares)
        for month in due:
            self.issued.add(month)
            for key, row in shares.items():
                if key[0] == month:
                    self.lines[month, *key] = {name: row[name] for name in COUNTED}

    def _adjust(self, statement: date, shares: Table) -> None:
        told: dict[Key, dict[str, Decimal]] = {}
        for key, line in self.lines.items():
            sums = told.setdefault(key[1:], dict.fromkeys(COUNTED, Decimal(0)))
            for name in COUNTED:
                sums[name] += line[name]
        true = {key: row for key, row in shares.items() if key[0] < statement}
        for key in true.keys() | told.keys():
            change = {name: true.get(key, {}).get(name, Decimal(0)) - told.get(key, {}).get(name, Decimal(0)) for name in COUNTED}
            if any(change.values()):
                self.lines[statement, *key] = change

    def differences(self, rows: list[Row]) -> list[str]:
        """Where the lines of a mart are not those that were issued."""
        names = ("statement_on", "period_on", "territory", "tier", "holder_id")
        given = {tuple(row[name] for name in names): {name: row[name] for name in COUNTED} for row in rows}
        return [
            f"{key}: {given.get(key)} should be {self.lines.get(key)}"
            for key in given | self.lines
            if given.get(key) != self.lines.get(key)
        ]


COUNTED = ("payable_count", "pro_rata_amount", "user_centric_amount", "artist_centric_amount")
