"""The middleware around the routes, which every request and every answer passes."""
