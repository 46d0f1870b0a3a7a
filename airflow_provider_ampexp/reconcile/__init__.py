"""Observe a live flag, change it, and restore lost updates."""
