"""Data of the build pages in Airflow's UI."""
