"""The blocking and the asyncio hook, which use an Airflow connection."""
