"""jobferry: the API server."""
