"""Batches and tiny trainers for tests of tasks and callbacks."""

from ivif.testing.batches import MadeData, MadePairs, make_batch, make_sample, quiet_trainer

__all__ = ["MadeData", "MadePairs", "make_batch", "make_sample", "quiet_trainer"]
