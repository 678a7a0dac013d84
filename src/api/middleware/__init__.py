"""What surrounds the routes: every request passes it on its way in, every answer on its way out."""
