"""A staged rollout as a task group, one task for each stage."""
