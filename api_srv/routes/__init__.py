"""HTTP in, service call, HTTP out. The only part of the API that knows Flask."""
