"""The Rollouts page in Airflow's navigation. It only reads."""
