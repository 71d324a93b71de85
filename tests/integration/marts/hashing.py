"""The number that PostgreSQL gives a text (`hashtextextended(text, 0)`), once more in plain Python: Bob Jenkins' lookup3 (2006)."""

from __future__ import annotations

_MASK = 0xFFFFFFFF
_MIX = ((0, 2, 4, 2, 1), (1, 0, 6, 0, 2), (2, 1, 8, 1, 0), (0, 2, 16, 2, 1), (1, 0, 19, 0, 2), (2, 1, 4, 1, 0))
"""(word that changes, word taken off it and turned, by how many bits, word that grows, by which)."""
_LAST = ((2, 1, 14), (0, 2, 11), (1, 0, 25), (2, 1, 16), (0, 2, 4), (1, 0, 14), (2, 1, 24))


def number_of(text: str) -> int:
    """The 64 bits as they are, not as a signed number."""
    data = text.encode()
    words = [(0x9E3779B9 + len(data) + 3_923_095) & _MASK] * 3
    whole = len(data) // 12 * 12
    for begin in range(0, whole, 12):
        for n in range(3):
            words[n] = (words[n] + int.from_bytes(data[begin + 4 * n : begin + 4 * n + 4], "little")) & _MASK
        for changed, taken, bits, grown, by in _MIX:
            words[changed] = ((words[changed] - words[taken]) ^ _turned(words[taken], bits)) & _MASK
            words[grown] = (words[grown] + words[by]) & _MASK
    for n, byte in enumerate(data[whole:]):
        # the lowest byte of the last word is left for the length
        place = n + (n >= 8)
        words[place // 4] = (words[place // 4] + (byte << 8 * (place % 4))) & _MASK
    for changed, by, bits in _LAST:
        words[changed] = ((words[changed] ^ words[by]) - _turned(words[by], bits)) & _MASK
    return words[1] << 32 | words[2]


def _turned(word: int, bits: int) -> int:
    return (word << bits | word >> (32 - bits)) & _MASK
