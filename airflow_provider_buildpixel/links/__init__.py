"""The way from a task in Airflow's UI to its build."""
