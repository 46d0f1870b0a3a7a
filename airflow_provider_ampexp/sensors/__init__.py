"""Tasks that wait until a flag or an experiment is as it should be."""
