"""The state of the service: flags, experiments, keys, limits."""
