"""Compare the images per second of python -m src.bulk with its libraries alone and the usual recipe for Ray Data."""
