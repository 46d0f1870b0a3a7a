"""`make chaos`: a real Airflow whose processes are killed at random while it releases features."""
