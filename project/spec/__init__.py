"""Files that people write: read once, checked, with the place of every mistake."""

from project.spec.files import load_clusters, load_clusters_or_config, load_input, load_modules
from project.spec.loader import Loaded, load
from project.spec.marks import Mark

__all__ = ["Loaded", "Mark", "load", "load_clusters", "load_clusters_or_config", "load_input", "load_modules"]
