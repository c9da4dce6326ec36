"""`ivif study run|table`: grids of experiments, and the tables that join them."""
