"""What waits in the triggerer. Triggers only read: Airflow runs one again from its beginning after a restart."""
