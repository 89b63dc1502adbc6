"""What the provider adds to Airflow's API server: a webhook endpoint and the build pages."""
