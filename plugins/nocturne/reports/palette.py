"""The colours of charts, pages and workbook, once.

The six series colours stay apart (CIE76 difference of at least 20) for full, red-, green- and blue-weak sight. Charts never rely on colour
alone: lines differ in dash, bars carry labels or hatching.
"""

from __future__ import annotations

from typing import Final

INDIGO: Final = "#1F3F8F"
ORANGE: Final = "#E2711D"
TEAL: Final = "#2A9D8F"
PLUM: Final = "#9B2456"
SKY: Final = "#8CC7F0"
STRAW: Final = "#F4DC73"
SERIES: Final = (INDIGO, ORANGE, TEAL, PLUM, SKY, STRAW)
DASHES: Final = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
HATCHES: Final = ("", "/", "\\", ".", "x", "-")

INK: Final = "#16192E"
GREY: Final = "#5C6178"
PALE: Final = "#B9BECD"
LINE: Final = "#DFE2EA"
PAPER: Final = "#FFFFFF"
WASH: Final = "#F3F5FA"
GOOD: Final = "#17705F"
BAD: Final = "#A23A12"

# One hue, lightness falling evenly: it reads the same in grey.
SCALE: Final = ((0.0, "#F3F5FA"), (0.25, "#C3D0EC"), (0.5, "#8299D3"), (0.75, "#4865B3"), (1.0, "#16295F"))

FONTS: Final = "'Noto Sans', 'Liberation Sans', 'DejaVu Sans', sans-serif"
