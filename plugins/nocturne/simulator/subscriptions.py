"""The lives of subscriptions: trials, renewals, failed payments, cancellations whose hazard follows what the listener was heard to do.

One pass over the days. Each payer decides once a period, some days before it ends, whether to cancel. The odds follow from behaviour that
anybody can observe who has the plays: listening of the last 14 days against the 28 before, the share of skips, days since the
last play, tenure and a recent rise of the price (`cancel_logit`). So a model can learn it, and the truth is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nocturne.simulator.catalogue import ALWAYS
from nocturne.simulator.clock import BEFORE, Clock
from nocturne.simulator.listening import REASONS, Listening
from nocturne.simulator.parameters import WorldParameters
from nocturne.simulator.people import People
from nocturne.simulator.randomness import Flags, Floats, Ints, dice, sigmoid

EVENTS = ("trial_started", "started", "renewed", "plan_changed", "auto_renew_off", "payment_failed", "ended", "reactivated")
END_REASONS = ("voluntary", "payment_failure", "trial_not_converted")
STATUSES = ("succeeded", "failed", "refunded")
METHODS = ("card", "wallet", "store", "invoice")
TIERS = ("free", "trial")
"""The first tiers' names; those of the plans follow."""
_TRIAL, _STARTED, _RENEWED, _CHANGED, _OFF, _FAILED, _ENDED, _BACK = range(8)
_FREE, _IN_TRIAL, _PAYING, _RETRYING = range(4)
FAILURE = np.array([0.045, 0.03, 0.02, 0.015])
_RETRY_DAYS = 3
RECOVERS = 0.62
COMES_BACK = 0.16
"""Share of those who ended a paid subscription who return, evenly between the third and the fifty-second day after."""
OPENING = ("trial_started", "started", "renewed", "plan_changed", "reactivated")
"""The events that open a period."""
RUN_IN = 45
"""Days before the world begins in which subscriptions and listening already run."""
RECENT_DAYS, EARLIER_DAYS = 14, 28
RISE_DAYS = 45


def cancel_logit(
    recent: Floats, earlier: Floats, skips: Floats, plays: Floats, idle: Floats, tenure: Floats, rise: Flags, churn: float
) -> Floats:
    """The log odds that a payer cancels: plays of the last 14 days, of the 28 before them, skips and plays of the last 28, days since the
    last play, days since sign-up, whether the price rose in the last 45 days, and the service's own level.
    """
    trend = np.log((recent + 3) / (earlier / 2 + 3))
    skipping = (skips + 2) / (plays + 8)
    logit: Floats = (
        -3.5
        - 1.0 * np.clip(trend, -2.0, 0.7)
        + 10.0 * (skipping - 0.25)
        - 0.65 * np.log((plays + 4) / 40)
        + 0.8 * np.minimum(idle, 28) / 28
        + 0.6 * (tenure < 60)
        + 1.1 * rise
        + np.log(churn)
    )
    return logit


def trial_logit(plays: Floats, treated: Floats, effect: Floats) -> Floats:
    """The log odds that a trial becomes a paid subscription: plays in its 14 days, and the experiment's treatment."""
    return -0.4 + 0.5 * np.log((plays + 2) / 12) + treated * effect


def price_rose(parameters: WorldParameters, clock: Clock, plan: Ints, day: int) -> Flags:
    """Whether each plan's price rose in the 45 days up to a day."""
    rose = np.zeros(len(plan), bool)
    for change in parameters.events.price_changes:
        since = day - clock.number_of(change.happens_on)
        if change.ratio > 1 and 0 <= since <= RISE_DAYS:
            rose |= plan == [offered.plan_id for offered in parameters.plans].index(change.plan_id)
    return rose


def undecided(days_left: Ints) -> Floats:
    """The probability that a payer has not decided yet when so many days of the period are left after today: `_before_end`'s law."""
    return np.clip((5 + days_left) / 14, 0, 1)


def _before_end(luck: Floats) -> Ints:
    """Days before a period's end on which its payer decides: the last day for six in fourteen, else evenly up to eight days before."""
    return np.maximum(0, (luck * 14).astype(np.int64) - 5)


@dataclass(frozen=True)
class Rows:
    """Arrays of equal length by name: one table of what happened, in the order in which it happened."""

    columns: dict[str, Ints]

    def __getitem__(self, name: str) -> Ints:
        return self.columns[name]

    def __len__(self) -> int:
        """Rows."""
        return len(next(iter(self.columns.values())))

    def take(self, rows: Ints | Flags) -> Rows:
        """These rows only."""
        return Rows({name: values[rows] for name, values in self.columns.items()})


class _Log:
    """Collects chunks of rows; numbers that are not given are -1."""

    def __init__(self, *names: str) -> None:
        self._names = names
        self._chunks: list[dict[str, Ints]] = []

    def add(self, count: int, **values: Ints | int) -> None:
        if count:
            self._chunks.append({name: np.broadcast_to(np.asarray(values.get(name, -1), np.int64), (count,)) for name in self._names})

    def rows(self) -> Rows:
        if not self._chunks:
            return Rows({name: np.empty(0, np.int64) for name in self._names})
        return Rows({name: np.concatenate([chunk[name] for chunk in self._chunks]) for name in self._names})


@dataclass(frozen=True)
class Lives:
    """What came of it. `tier[day + RUN_IN, listener]`: -1 not there, else index into TIERS + plans' tiers.

    `events`, `payments`: sorted by instant. `decisions`: one row for each decision of a payer, `conversions`: one for each trial
    that ended; their probabilities stand in `cancel_probability` and `convert_probability`.
    """

    tier: Ints
    events: Rows
    payments: Rows
    decisions: Rows
    cancel_probability: Floats
    conversions: Rows
    convert_probability: Floats
    variant: Ints  # by listener: -1 not in the experiment, 0 control, 1 treatment
    experiment: Ints  # by listener: -1 or which
    method: Ints  # by listener: how it pays


class Subscriptions:
    """Lives through the days once."""

    def __init__(self, parameters: WorldParameters, clock: Clock, people: People, listening: Listening) -> None:
        self.parameters, self.clock, self.people, self.listening = parameters, clock, people, listening
        self._dice = dice(parameters.seed, "subscriptions")
        count = people.count
        self._status = np.full(count, -1)
        self._plan = np.full(count, -1)
        self._from, self._to = np.full(count, -ALWAYS), np.full(count, ALWAYS)
        self._anchor = np.zeros(count, dtype=np.int64)
        self._decides, self._retries, self._returns = np.full(count, ALWAYS), np.full(count, ALWAYS), np.full(count, ALWAYS)
        self._off, self._had_trial = np.zeros(count, bool), np.zeros(count, bool)
        self._method = self._dice.choice(len(METHODS), count, p=[0.55, 0.2, 0.2, 0.05])
        self._trial_days = 14
        self._plays, self._skips = np.zeros((RECENT_DAYS + EARLIER_DAYS, count), np.int32), np.zeros((EARLIER_DAYS, count), np.int32)
        self._last_play = np.full(count, -BEFORE)
        self._yearly = np.array([plan.billing_period == "year" for plan in parameters.plans])
        self._shares = np.array([plan.share for plan in parameters.plans])
        self._shares = self._shares / self._shares.sum()
        self._events = _Log("day", "second", "listener", "event", "plan", "previous", "from", "to", "reason")
        self._payments = _Log("day", "second", "listener", "status", "plan", "priced")
        self._decisions = _Log("day", "listener", "to", "cancels", "plan")
        self._conversions = _Log("day", "listener", "converts", "treated")
        self._cancel_p: list[Floats] = []
        self._convert_p: list[Floats] = []
        self._experiment, self._variant = self._assign()
        effects = [experiment.effect for experiment in parameters.events.experiments]
        self._effect = np.array([*effects, 0.0])[self._experiment]

    def live(self) -> Lives:
        """All days, from RUN_IN before the first to the last."""
        days = self.parameters.days
        tier = np.full((RUN_IN + days, self.people.count), -1, np.int8)
        names = [*TIERS, *dict.fromkeys(plan.tier for plan in self.parameters.plans)]
        of_plan = np.array([names.index(plan.tier) for plan in self.parameters.plans])
        self._begin()
        for day in range(-RUN_IN, days):
            self._step(day)
            paying = self._status >= _PAYING
            row = np.where(paying, of_plan[self._plan], self._status)
            tier[day + RUN_IN] = row
            self._listen(day, row)
        events = self._events.rows()
        payments = self._payments.rows()
        return Lives(
            tier,
            _in_order(events),
            _in_order(payments),
            self._decisions.rows(),
            np.concatenate([np.empty(0), *self._cancel_p]),
            self._conversions.rows(),
            np.concatenate([np.empty(0), *self._convert_p]),
            self._variant,
            self._experiment,
            self._method,
        )

    # one day -------------------------------------------------------------------------------------------------------------
    def _step(self, day: int) -> None:
        """What happens to subscriptions on a day, before anybody listens."""
        self._sign_up(day)
        self._decide(day)
        paying, trial = self._status == _PAYING, self._status == _IN_TRIAL
        due, retried = self._to == day, (self._status == _RETRYING) & (self._retries == day)
        leaves, renews = np.flatnonzero(paying & due & self._off), np.flatnonzero(paying & due & ~self._off)
        self._end(leaves, day, reason=0)
        self._collect(renews, day)
        self._convert(np.flatnonzero(trial & due), day)
        self._retry(np.flatnonzero(retried), day)
        self._return(np.flatnonzero((self._returns == day) & (self._status < _IN_TRIAL)), day)
        idle = np.flatnonzero(self._status == _FREE)
        self._status[idle[self._dice.random(len(idle)) < 0.0015]] = -1

    def _listen(self, day: int, tier: Ints) -> None:
        """Take in what was heard: the counts that decisions look at."""
        for row, table in ((day % len(self._plays), self._plays), (day % len(self._skips), self._skips)):
            table[row] = 0
        blocks = [self.listening.on_time(day, tier)]
        if day >= 0:
            blocks.append(self.listening.late(day, tier))
        for block in blocks:
            kept = ~self.listening.lost(block) if self.listening.touches_outage(day) else slice(None)
            who = block.listener[kept]
            skipped = IS_SKIP[block.reason[kept]]
            self._plays[day % len(self._plays)] += np.bincount(who, minlength=self.people.count).astype(np.int32)
            self._skips[day % len(self._skips)] += np.bincount(who[skipped], minlength=self.people.count).astype(np.int32)
        self._last_play[self._plays[day % len(self._plays)] > 0] = day

    # its parts -----------------------------------------------------------------------------------------------------------
    def _begin(self) -> None:
        """Those who signed up before the run-in: two in three pay, the others listen free."""
        there = np.flatnonzero((self.people.signed_up < -RUN_IN) & ~self.people.is_bot)
        pays = self._dice.random(len(there)) < 0.68
        self._status[there] = _FREE
        self._had_trial[there] = True
        payers = there[pays]
        self._status[payers] = _PAYING
        self._plan[payers] = self._dice.choice(len(self._shares), len(payers), p=self._shares)
        ago = (self._dice.random(len(payers)) * 31).astype(np.int64)
        self._open(payers, -RUN_IN - ago)
        self._events.add(
            len(payers),
            day=-RUN_IN - ago,
            second=self._seconds(len(payers)),
            listener=payers,
            event=_RENEWED,
            plan=self._plan[payers],
            **{"from": self._from[payers], "to": self._to[payers]},
        )
        # nobody knows yet what they listened to: take the run-in's first weeks as the usual
        usual = self.people.intensity(-RUN_IN) * self.parameters.plays_a_session
        self._plays[:] = np.round(usual).astype(np.int32)
        self._skips[:] = np.round(usual * self.people.skip).astype(np.int32)
        self._last_play[:] = -RUN_IN - 1

    def _assign(self) -> tuple[Ints, Ints]:
        """(experiment, variant) of each listener; -1 for those who are in none."""
        experiment = np.full(self.people.count, -1)
        for n, planned in enumerate(self.parameters.events.experiments):
            begins, ends = self.clock.number_of(planned.from_on), self.clock.number_of(planned.to_on)
            inside = (begins <= self.people.signed_up) & (self.people.signed_up <= ends) & ~self.people.is_bot
            experiment = np.where(inside, n, experiment)
        side = (self.people.words & np.uint64(1)).astype(np.int64)
        return experiment, np.where(experiment >= 0, side, -1)

    def _sign_up(self, day: int) -> None:
        new = np.flatnonzero(self.people.signed_up == day)
        self._status[new] = _FREE
        people = new[~self.people.is_bot[new]]
        luck = self._dice.random(len(people))
        trial, direct = people[luck < 0.6], people[(luck >= 0.6) & (luck < 0.68)]
        second = self.people.signed_up_second
        self._start_trial(trial, day, second[trial] + 90)
        self._plan[direct] = self._dice.choice(len(self._shares), len(direct), p=self._shares)
        self._pay(direct, day, second[direct] + 120, _STARTED)
        later = np.flatnonzero((self._status == _FREE) & ~self._had_trial & ~self.people.is_bot & (self.people.signed_up < day))
        later = later[self._dice.random(len(later)) < 0.004]
        self._start_trial(later, day, self._seconds(len(later)))

    def _start_trial(self, who: Ints, day: int, second: Ints) -> None:
        self._had_trial[who] = True
        self._status[who] = _IN_TRIAL
        self._plan[who] = self._dice.choice(len(self._shares), len(who), p=self._shares)
        self._from[who], self._to[who] = day, day + self._trial_days
        self._events.add(
            len(who),
            day=day,
            second=second,
            listener=who,
            event=_TRIAL,
            plan=self._plan[who],
            **{"from": day, "to": day + self._trial_days},
        )

    def _convert(self, who: Ints, day: int) -> None:
        """Trials that end today become paid or not."""
        plays = self._window(self._plays, day, 0, self._trial_days, who)
        treated = (self._variant[who] == 1).astype(float)
        p = sigmoid(trial_logit(plays, treated, self._effect[who]))
        converts = self._dice.random(len(who)) < p
        self._conversions.add(len(who), day=day, listener=who, converts=converts.astype(np.int64), treated=self._variant[who])
        self._convert_p.append(p)
        self._pay(who[converts], day, self._seconds(int(converts.sum())), _STARTED)
        self._end(who[~converts], day, reason=2)

    def _decide(self, day: int) -> None:
        who = np.flatnonzero((self._status == _PAYING) & (self._decides == day) & ~self._off)
        p = sigmoid(self.logit(who, day))
        cancels = self._dice.random(len(who)) < p
        self._decisions.add(len(who), day=day, listener=who, to=self._to[who], cancels=cancels.astype(np.int64), plan=self._plan[who])
        self._cancel_p.append(p)
        off = who[cancels]
        self._off[off] = True
        told = off[self._to[off] > day]
        self._events.add(len(told), day=day, second=self._seconds(len(told)), listener=told, event=_OFF, plan=self._plan[told])

    def logit(self, who: Ints, day: int) -> Floats:
        """`cancel_logit` of these listeners, from what was heard before `day`."""
        return cancel_logit(
            self._window(self._plays, day, 0, RECENT_DAYS, who),
            self._window(self._plays, day, RECENT_DAYS, RECENT_DAYS + EARLIER_DAYS, who),
            self._window(self._skips, day, 0, EARLIER_DAYS, who),
            self._window(self._plays, day, 0, EARLIER_DAYS, who),
            (day - 1 - self._last_play[who]).astype(float),
            (day - self.people.signed_up[who]).astype(float),
            price_rose(self.parameters, self.clock, self._plan[who], day),
            self.parameters.churn,
        )

    def _collect(self, who: Ints, day: int) -> None:
        """Renewals that are due: most are paid, some fail and are tried again three days later."""
        fails = self._dice.random(len(who)) < FAILURE[self._method[who]]
        second = self._seconds(len(who))
        failed, paid = who[fails], who[~fails]
        self._status[failed] = _RETRYING
        self._retries[failed] = day + _RETRY_DAYS
        self._tell_failure(failed, day, second[fails])
        changes = self._dice.random(len(paid)) < 0.02
        moved, same = paid[changes & ~self._yearly[self._plan[paid]]], paid[~(changes & ~self._yearly[self._plan[paid]])]
        previous = self._plan[moved]
        monthly = np.flatnonzero(~self._yearly)
        self._plan[moved] = monthly[(np.searchsorted(monthly, previous) + 1) % len(monthly)]
        really = self._plan[moved] != previous
        self._pay(moved[really], day, self._seconds(int(really.sum())), _CHANGED, previous[really])
        self._pay(np.r_[same, moved[~really]], day, self._seconds(len(same) + int((~really).sum())), _RENEWED)

    def _tell_failure(self, who: Ints, day: int, second: Ints) -> None:
        self._events.add(len(who), day=day, second=second, listener=who, event=_FAILED, plan=self._plan[who])
        self._payments.add(len(who), day=day, second=second, listener=who, status=1, plan=self._plan[who], priced=day)

    def _retry(self, who: Ints, day: int) -> None:
        recovers = self._dice.random(len(who)) < RECOVERS
        paid, lost = who[recovers], who[~recovers]
        self._pay(paid, day, self._seconds(len(paid)), _RENEWED, begins=self._to[paid])
        self._tell_failure(lost, day, self._seconds(len(lost)))
        self._end(lost, day, reason=1)

    def _return(self, who: Ints, day: int) -> None:
        self._returns[who] = ALWAYS
        self._pay(who, day, self._seconds(len(who)), _BACK)

    def _pay(self, who: Ints, day: int, second: Ints, event: int, previous: Ints | int = -1, begins: Ints | int | None = None) -> None:
        """A period begins: the event and its payment; one payment in 250 is refunded some days later."""
        begins = np.broadcast_to(np.asarray(day if begins is None else begins), (len(who),))
        self._status[who] = _PAYING
        self._open(who, begins)
        self._events.add(
            len(who),
            day=day,
            second=second,
            listener=who,
            event=event,
            plan=self._plan[who],
            previous=previous,
            **{"from": self._from[who], "to": self._to[who]},
        )
        self._payments.add(len(who), day=day, second=second, listener=who, status=0, plan=self._plan[who], priced=day)
        back = who[self._dice.random(len(who)) < 0.004]
        later = day + 1 + (self._dice.random(len(back)) * 5).astype(np.int64)
        self._payments.add(
            len(back), day=later, second=self._seconds(len(back)), listener=back, status=2, plan=self._plan[back], priced=day
        )

    def _open(self, who: Ints, begins: Ints) -> None:
        """Open the period from `begins` on, one month or year long, and fix the day on which its owner decides."""
        self._from[who] = begins
        self._to[who] = self._after(who, np.asarray(begins), np.where(self._yearly[self._plan[who]], 12, 1))
        self._decides[who] = self._to[who] - _before_end(self._dice.random(len(who)))
        self._off[who] = False

    def _after(self, who: Ints, begins: Ints, months: Ints) -> Ints:
        """The day `months` calendar months after: the same day of the month, or the month's last. Who began on the 31st pays on the 28th of
        February and on the 31st again in March.
        """
        dates = self.clock.dates(begins)
        month = dates.astype("datetime64[M]")
        in_month = (dates - month.astype("datetime64[D]")).astype(np.int64)
        anchor = np.where(in_month == _days_in(month) - 1, np.maximum(self._anchor[who], in_month), in_month)
        self._anchor[who] = anchor
        target = month + months
        to = target.astype("datetime64[D]") + np.minimum(anchor, _days_in(target) - 1)
        number: Ints = (to - np.datetime64(self.clock.begins_on, "D")).astype(np.int64)
        return number

    def _end(self, who: Ints, day: int, *, reason: int) -> None:
        """Subscriptions end: some of their owners listen free, some go, some who paid come back within weeks."""
        self._events.add(
            len(who), day=day, second=self._seconds(len(who)) // 8, listener=who, event=_ENDED, plan=self._plan[who], reason=reason
        )
        stays = self._dice.random(len(who)) < (0.75 if reason == 2 else 0.45)
        self._status[who] = np.where(stays, _FREE, -1)
        self._to[who] = ALWAYS
        self._off[who] = False
        comes_back = self._dice.random(len(who)) < COMES_BACK
        after = day + 3 + (self._dice.random(len(who)) * 50).astype(np.int64)
        self._returns[who] = np.where(comes_back & (reason != 2), after, ALWAYS)

    def _window(self, table: Ints, day: int, newest: int, oldest: int, who: Ints) -> Floats:
        """Sum over the days from `day - oldest` to `day - newest - 1`."""
        rows = (day - np.arange(newest + 1, oldest + 1)) % len(table)
        heard: Floats = table[np.ix_(rows, who)].sum(axis=0).astype(float)
        return heard

    def _seconds(self, count: int) -> Ints:
        return (28_000 + 50_000 * self._dice.random(count)).astype(np.int64)


IS_SKIP = np.array([reason in ("forward", "back", "track_change") for reason in REASONS])
"""By reason: whether it ends a play as a skip of the listener's."""


def _in_order(rows: Rows) -> Rows:
    return rows.take(np.lexsort((rows["listener"], rows["second"], rows["day"])))


def _days_in(month: NDArray[Any]) -> Ints:
    """Days of each month (datetime64[M])."""
    days: Ints = ((month + 1).astype("datetime64[D]") - month.astype("datetime64[D]")).astype(np.int64)
    return days
