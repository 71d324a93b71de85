"""The metric layer: every number that people ask for, declared once (`dbt/metrics/*.yml`), and questions answered from published marts.

    shapes         what marts look like, from dbt's YAML
    declarations   what a metric is, and how it adds up
    loading        the declarations, read strictly
    asking         a question, and what of it has no right answer
    compiling      the question as SQL
    answering      the cheapest marts that can tell it, asked as the tenant's read-only role
    forms          the answer as CSV, JSON or Parquet

Why not MetricFlow, which is at hand (metricflow 0.213.0, Apache-2.0, three packages more; dbt-metricflow needs dbt-core 1.12, which
does not install here): it costs 1.1 CPU s to import and 27 to 38 ms to compile a question (this room: see `benchmarks/RESULTS.md`), does
not choose among marts of several grains, takes tests as templates of SQL (so a person's text becomes SQL), joins what metrics have in
common by `=` (so members that are not known do not meet), and has no word for what must not be added up.
"""

from nocturne.metrics.answering import Answer, execute_query
from nocturne.metrics.asking import Filter, Question
from nocturne.metrics.loading import load_catalogue

__all__ = ["Answer", "Filter", "Question", "execute_query", "load_catalogue"]
