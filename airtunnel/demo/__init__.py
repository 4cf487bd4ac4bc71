"""The whole path on one machine: a provider, a gateway, a private PostgreSQL and a DAG."""
