"""The tasks of a rollout: ramp, stage, approval and rollback, over one base."""
