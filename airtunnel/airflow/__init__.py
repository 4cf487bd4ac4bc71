"""What Airflow imports. Standard library and Airflow only: any Airflow's interpreter can load it."""
