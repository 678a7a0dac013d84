"""Overload and soak: what the service does when too much, too long or the wrong thing is asked of it."""
