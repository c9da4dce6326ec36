"""How pictures are found and pair up; `ivif.datamodules.datasets.pairs.names` has the grammar."""
