"""One poll for each connection, shared by all waits of a triggerer."""
