"""The version history as data: who changed which field, and when."""
