"""The routes under ``/_emulator/``."""
