"""Loss terms: each one unweighted, a scalar mean over the batch. Tasks own the weights."""
