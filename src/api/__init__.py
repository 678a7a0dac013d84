"""What the web sees: request and response schemas, limits, the error object, pages."""
