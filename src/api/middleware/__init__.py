"""The middleware around the routes, which every request and response passes through."""
