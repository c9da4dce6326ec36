"""`ivif models`: trained networks by name: those that are there, new ones, and ones for the hub."""
