"""Station: landing -> bronze. Every delivered row as our columns, with its place, why it is bad if it is, and then also its text.

    reading     raw files as Arrow batches            formats     every format behind one protocol
    unpacking   compressed bytes as streams           archives    members of zip and tar as files
    encodings   text of any encoding as UTF-8         workbooks   XLSX as records
    columnar    Arrow as it is                        markup      XML as records
    sales_reports   DDEX sales reports as records
    mapping     delivered rows -> bronze rows, SQL    calendar    event dates
    links       keys that stand at several dates      loading     the station

Bronze is a pure function of landing and of the declarations in force (sources, time zones): its marks say which of them each batch was
loaded with, and a batch whose landing or declaration differs is loaded again, whole.
"""

from __future__ import annotations

from nocturne.bronze.loading import load_bronze

__all__ = ["load_bronze"]
