"""Kills the processes of an Airflow on PostgreSQL and Celery, under load: ``make cluster``."""
