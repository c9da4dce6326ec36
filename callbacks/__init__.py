"""Lightning callbacks: they read batches and outputs, and write to a logger or to disk."""
