"""The marts: dbt builds them beside the published ones, and what has changed is published in one transaction.

<slug>_build.<model>    as dbt built it, with what is between staging and marts
<slug>_build._builds    the builds: which code, when, whether everything was made anew, whether it was published
<slug>_build._changed   (model, date): whose rows have changed since the last publish; the strategy `replace` notes it
<slug>_marts.<mart>     as it was published: what people, models and reports read
<slug>_marts._publishes what each publish changed
<slug>_build._journal*  what undoes the last publishes (see `journal`), and `_holds`: who holds publishing back
"""

from nocturne.marts.building import build_marts
from nocturne.marts.publishing import publish_marts
from nocturne.marts.rollback import list_publishes, steer_marts, trim_journal

__all__ = ["build_marts", "list_publishes", "publish_marts", "steer_marts", "trim_journal"]
