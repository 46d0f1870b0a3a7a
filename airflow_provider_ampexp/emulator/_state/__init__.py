"""What the service knows: flags, experiments, keys, limits."""
