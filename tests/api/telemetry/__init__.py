"""Log, metrics, spans."""
