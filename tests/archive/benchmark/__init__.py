"""Images a second of python -m src.bulk, beside its libraries alone and the usual recipe on Ray Data."""
