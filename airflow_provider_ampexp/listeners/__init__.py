"""The listener that stores an asset watcher's watermark."""
