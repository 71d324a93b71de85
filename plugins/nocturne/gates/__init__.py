"""Station: what a delivery and what a build must hold before anything goes further.

checks  suites        which checks there are, and which are declared in `expectations/`
evaluation            the door to Great Expectations
profiles suggestions  what a dataset looks like, and a suite that it passes, for a person to edit
history  measures     what is usual for a source, and what is measured of a batch
bronze                the gate behind bronze
isolation             that nobody but the tenant's own roles reaches its rows
reconciliation        the sums that must be equal from a delivery to the marts
marts                 the gate before publishing
"""

from nocturne.gates.bronze import gate_bronze
from nocturne.gates.marts import gate_marts

__all__ = ["gate_bronze", "gate_marts"]
