"""Stages: readers become loaders. A LightningDataModule per dataset; `unified` for mixtures, `folder`, `synthetic`."""
