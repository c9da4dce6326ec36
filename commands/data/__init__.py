"""`data check|prompts|manifests|scenes`: a dataset before training."""
