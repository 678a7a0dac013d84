"""The service over HTTP: what a request may be, how it is answered, and the one shape of every error."""
