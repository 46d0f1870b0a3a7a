"""The Rollouts page in Airflow's navigation: every flag, what a rollout does with it, and its history. Reads only."""
