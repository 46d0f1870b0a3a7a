"""What this provider costs, beside what people would use in its place. ``make bench`` writes docs/performance.md."""
