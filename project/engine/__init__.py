"""What the commands do: submission, tracking from here, retrieval."""
