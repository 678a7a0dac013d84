"""Programs that people use with the service: clients generated from its document, and a browser behind a proxy."""
