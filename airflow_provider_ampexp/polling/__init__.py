"""One poll per connection, shared by all waits of a triggerer. No Airflow classes."""
