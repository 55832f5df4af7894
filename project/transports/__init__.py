"""Ways to a cluster: over SSH, or a process on this machine."""
