"""Station: what a delivery and what a build must hold before anything goes further.

checks  suites        which checks there are, and which are declared in `expectations/`
screening evaluation  which rows may fail, in SQL; the door to Great Expectations, which is asked those
profiles suggestions  what a dataset looks like, and a suite that it passes, for a person to edit
measures              what is counted of a batch, and remembered
history comparison    what is usual for a source, and a batch beside it
bronze                the gate behind bronze
isolation             that nobody but the tenant's own roles reaches its rows
reconciliation        the sums that must be equal from a delivery to the marts, to the row
amounts               and to the cent
marts                 the gate before publishing
"""

from nocturne.gates.bronze import gate_bronze
from nocturne.gates.marts import gate_marts

__all__ = ["gate_bronze", "gate_marts"]
