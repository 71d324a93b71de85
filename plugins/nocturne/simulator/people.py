"""Who listens: accounts in the order of their sign-up, with home, taste, habits, and the moment from which interest fades."""

from __future__ import annotations

import numpy as np

from nocturne.simulator.catalogue import ALWAYS, Catalogue
from nocturne.simulator.clock import BEFORE, Clock
from nocturne.simulator.parameters import WorldParameters
from nocturne.simulator.randomness import Flags, Floats, Ints, bits, dice, words

CHANNELS = ("search", "social", "email", "affiliate", "referral", "store", "direct")
CHANNEL_SHARES = (0.24, 0.26, 0.06, 0.08, 0.12, 0.14, 0.10)
GENDERS = ("female", "male", "other", None)


class People:
    """Arrays by listener. Day numbers are those of the clock; the accounts of bot farms stand among the others."""

    def __init__(self, parameters: WorldParameters, clock: Clock, catalogue: Catalogue) -> None:
        self.parameters = parameters
        seed = parameters.seed
        farms = parameters.events.bot_farms
        humans, bots = parameters.listeners, sum(farm.accounts for farm in farms)
        generator = dice(seed, "people")
        signed_up, second = self._sign_ups(humans, clock, generator)
        farm_days = np.array([clock.number_of(farm.from_on) - 2 for farm in farms for _ in range(farm.accounts)], np.int64)
        signed_up, second = np.r_[signed_up, farm_days], np.r_[second, 36_000 + 97 * np.arange(bots)]
        farm_of = np.r_[np.full(humans, -1), np.repeat(np.arange(len(farms)), [farm.accounts for farm in farms])]
        order = np.lexsort((second, signed_up))
        self.count = humans + bots
        self.signed_up: Ints = signed_up[order]
        self.signed_up_second: Ints = second[order]
        self.farm: Ints = farm_of[order].astype(np.int64)
        self.is_bot: Flags = self.farm >= 0
        shares = np.array([country.share for country in parameters.countries])
        self.country: Ints = generator.choice(len(shares), self.count, p=shares / shares.sum()).astype(np.int64)
        self.country[self.is_bot] = len(shares) - 1
        self.hours_ahead: Ints = np.array([c.hours_ahead for c in parameters.countries])[self.country]
        self.channel: Ints = generator.choice(len(CHANNELS), self.count, p=CHANNEL_SHARES).astype(np.int64)
        self.birth_year: Ints = np.clip(parameters.begins_on.year - 33 + 11 * generator.standard_normal(self.count), 1940, 2012).astype(
            np.int64
        )
        self.gender: Ints = generator.choice(len(GENDERS), self.count, p=[0.46, 0.44, 0.03, 0.07]).astype(np.int64)
        self.words = words(generator, self.count)
        self._give_habits(catalogue, generator)
        self._let_interest_fade(clock, generator)

    def _sign_ups(self, count: int, clock: Clock, generator: np.random.Generator) -> tuple[Ints, Ints]:
        """(day, second) of each sign-up: a part before the world begins, the rest over its days with growth and the week's season."""
        before = round(count * self.parameters.existing)
        old = -1 - np.minimum(generator.exponential(260, before), 1500).astype(np.int64)
        days = np.arange(clock.days)
        weights = (1 + 0.6 * days / max(1, clock.days)) * clock.weights(days)
        new = generator.choice(days, count - before, p=weights / weights.sum())
        return np.r_[old, new].astype(np.int64), (28_800 + 50_400 * generator.random(count)).astype(np.int64)

    def _give_habits(self, catalogue: Catalogue, generator: np.random.Generator) -> None:
        shares = catalogue.genre_shares**0.8
        shares /= shares.sum()
        self.first_genre: Ints = generator.choice(len(shares), self.count, p=shares).astype(np.int64)
        self.second_genre: Ints = generator.choice(len(shares), self.count, p=shares).astype(np.int64)
        drive = np.exp(0.75 * generator.standard_normal(self.count) - 0.28)
        self.sessions: Floats = self.parameters.sessions_a_day * drive
        odds = self.parameters.skip_ratio / (1 - self.parameters.skip_ratio)
        self.skip: Floats = 1 / (1 + np.exp(-(np.log(odds) + 0.75 * generator.standard_normal(self.count))))
        platforms = np.array(list(self.parameters.platforms.values()))
        self.platform: Ints = generator.choice(len(platforms), self.count, p=platforms / platforms.sum()).astype(np.int64)
        self.place_in_taste = bits(self.words, 32, 32).astype(np.uint64)

    def _let_interest_fade(self, clock: Clock, generator: np.random.Generator) -> None:
        """From some day on, many play a little less each day and skip more; where nobody subscribes, some leave."""
        fades = generator.random(self.count) < 0.45
        start = np.maximum(self.signed_up, -BEFORE)
        onset = start + generator.exponential(130, self.count)
        self.fades_from: Ints = np.where(fades, onset, ALWAYS).astype(np.int64)
        self.fades_by: Floats = 0.012 + 0.02 * generator.random(self.count)
        leaves = generator.random(self.count) < 0.5
        self.leaves_on: Ints = np.where(leaves, start + 10 + generator.exponential(150, self.count), ALWAYS).astype(np.int64)
        if self.parameters.has_subscriptions:
            self.leaves_on[:] = ALWAYS

    def intensity(self, day: int) -> Floats:
        """Expected sessions of each account on a day, before the season, if it is there; accounts of bot farms have none of this kind."""
        faded = np.exp(-self.fades_by * np.maximum(0, day - self.fades_from))
        return self.sessions * np.maximum(faded, 0.04) * ~self.is_bot

    def impatience(self, day: int) -> Floats:
        """Probability that a play is skipped, by listener: it rises while interest fades."""
        faded = np.minimum(1.0, self.fades_by * np.maximum(0, day - self.fades_from))
        return np.minimum(0.85, self.skip * (1 + 0.9 * faded))

    def is_there(self, day: int) -> Flags:
        """Who has signed up by a day and has not left, in a world without subscriptions."""
        return (self.signed_up <= day) & (day < self.leaves_on)
