"""Small trained networks that can be used by name, and how a name becomes a file."""

from ivif.weights.find import UnknownWeightsError, find_weights, preferred_name, released_names

__all__ = ["UnknownWeightsError", "find_weights", "preferred_name", "released_names"]
