"""Readers: files on disk become samples. One file per dataset, named as the dataset."""
