"""Datasets in shards: what `ivif data pack` writes, and how readers find their pairs there."""
