"""Station: bronze -> silver and quarantine. Typed, pseudonymised, each key once; bad rows set aside with every reason.

    rules        what makes a row good, as SQL            pseudonyms   listener_id -> listener_key
    inputs       which rows decide an event date          refining     the station
    quarantine   what was refused, shown to people, and the way back

Silver is a pure function of bronze and of the declarations: an event date is rebuilt whole from every row that decides it, so neither
the order in which batches arrive nor their repetition changes a row. Its marks say from which inputs each date was built; a date whose
inputs differ is touched, and no other.

The winner of a key, over all batches and dates: rows of equal content are one content, which arrived when the first of them did; of
several contents, the one that arrived last stands (of several that arrived on one day, the one with the greatest hash). So a replay never
undoes a correction.
"""

from __future__ import annotations

from nocturne.silver.refining import refine_silver

__all__ = ["refine_silver"]
