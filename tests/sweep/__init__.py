"""Every architecture, from its code to an answer of the service, against the untouched network."""
