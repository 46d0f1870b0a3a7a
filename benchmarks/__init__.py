"""Benchmarks: the cost of this provider, compared with the alternatives. ``make bench`` writes docs/performance.md."""
