"""Kills what an Airflow on PostgreSQL and Celery is made of, under load: ``make cluster``."""
