"""Sensors that wait for a state of a flag or an experiment."""
