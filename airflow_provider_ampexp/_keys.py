"""The keys of values that the provider stores in Airflow: all begin with ``amplitude_experiment``.

Also the default connection and the metric.
"""

DEFAULT_CONNECTION = "amplitude_experiment_default"
"""The id of the connection, if a task names none."""
URL_XCOM = "amplitude_experiment_url"
"""The flag in Amplitude, for the link on the task."""
RECORD_XCOM = "amplitude_experiment_record"
"""The record of a rollout."""
PLAN_XCOM = "amplitude_experiment_plan"
"""The plan of a rollout, for the Rollouts page, and when it began."""
STALE_XCOM = "amplitude_experiment_stale"
"""By which connection, and for how many days, a task listed stale flags, for the Rollouts page."""
ALERTS_XCOM = "amplitude_experiment_alerts"
"""The alerts that a task sent. The task state store has the same key."""
BEGUN_STATE = "amplitude_experiment_begun"
"""In the task state store: when the first attempt began."""
ROLLBACK_STATE = "amplitude_experiment_rollback"
"""In the task state store: why an attempt was about to roll back."""
REQUESTS_METRIC = "amplitude_experiment.requests"
"""The count of requests."""
