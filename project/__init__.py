"""jobferry: the command line and the submission engine."""
