"""The agent: one file on the login node that prepares, submits, watches and reports. Python 3.6, standard library."""
