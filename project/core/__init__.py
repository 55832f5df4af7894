"""What laptop, cluster and server share: Python 3.6, standard library only."""
