"""BuildPixel's REST API behind an Airflow connection."""
