"""The only room that knows Airflow: what a DAG's tasks are, which day a run is about, and what workers load before they fork."""
