"""Fusion metrics: pure per-image functions in `functional`, thin torchmetrics classes, named conventions."""
