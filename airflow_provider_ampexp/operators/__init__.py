"""Operators that change or read flags, experiments and deployments."""
