"""Lower a flag, from another machine, when its rollout no longer runs."""
