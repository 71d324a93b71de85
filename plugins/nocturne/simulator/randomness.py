"""Random bits that belong to one place of the world, so that any day can be made without the days before it.

Only raw 64-bit outputs of the generator and numpy's uniform, normal and Poisson draws are used; the generator of a place is seeded by
a digest of (seed, place), so the same world comes out in every process and whatever order its parts are asked for.
"""

from __future__ import annotations

import hashlib
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Ints: TypeAlias = NDArray[np.signedinteger[Any]]
Indices: TypeAlias = Ints
Words: TypeAlias = NDArray[np.uint64]
Floats: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]


def dice(seed: int, *place: str | int) -> np.random.Generator:
    """The generator of one place, such as `dice(7, "sessions", 12)`."""
    digest = hashlib.blake2b("\x1f".join(map(str, (seed, *place))).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.SFC64(int.from_bytes(digest, "little")))


def words(generator: np.random.Generator, count: int) -> Words:
    """`count` raw 64-bit words."""
    return generator.bit_generator.random_raw(count) if count else np.empty(0, np.uint64)


def bits(source: Words, at: int, width: int) -> Ints:
    """The `width` bits of each word that begin at bit `at`, as numbers from 0."""
    return ((source >> np.uint64(at)) & np.uint64((1 << width) - 1)).view(np.int64)


def mixed(numbers: Words) -> Words:
    """A bijection of 64-bit numbers that looks random (the finaliser of splitmix64, Steele et al. 2014): distinct in, distinct out."""
    z = numbers.copy()
    z ^= z >> np.uint64(30)
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return z


def lookup(weights: Floats, size: int) -> Indices:
    """A table of `size` entries in which each index stands as often as its weight says: a uniform draw from it is a weighted one."""
    edges = np.cumsum(weights)
    grid = (np.arange(size) + 0.5) * (edges[-1] / size)
    table: Indices = np.searchsorted(edges, grid).astype(np.int32)
    return table


def rounded(expected: Floats, generator: np.random.Generator) -> Ints:
    """Whole numbers whose mean is `expected`: each is rounded up with the probability of its fraction."""
    low = np.floor(expected)
    return (low + (generator.random(len(expected)) < expected - low)).astype(np.int64)


def sigmoid(values: Floats) -> Floats:
    """1 / (1 + e^-x)."""
    return 1.0 / (1.0 + np.exp(-values))
