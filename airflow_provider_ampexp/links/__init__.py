"""Links from a task to Amplitude."""
