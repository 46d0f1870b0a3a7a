"""Tasks that bring a flag, an experiment or a deployment to a state, and tasks that read."""
