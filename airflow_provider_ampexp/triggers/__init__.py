"""Triggers that wait without a worker. They only read."""
