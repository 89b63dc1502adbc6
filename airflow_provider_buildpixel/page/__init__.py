"""What the pages about builds in Airflow's UI show."""
