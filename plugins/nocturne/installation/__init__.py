"""One whole installation on one machine: its PostgreSQL, its Airflow, its demo, and the commands that start and end them."""
