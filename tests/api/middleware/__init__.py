"""What surrounds the routes."""
