"""airtunnel: an identity-aware TCP proxy for Apache Airflow, and the developer CLI in front of it."""

__version__ = "0.1.0"
