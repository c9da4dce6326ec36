"""Label files: which belongs to which pair, what they say, and which class is meant."""
