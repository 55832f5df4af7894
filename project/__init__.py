"""jobferry: the command line and the submission engine."""

__version__ = "0.1.0"
