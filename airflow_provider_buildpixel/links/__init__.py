"""Links from Airflow's UI to builds."""
