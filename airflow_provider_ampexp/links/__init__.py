"""The link from a task to Amplitude."""
