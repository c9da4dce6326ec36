"""Stages: readers become loaders. One LightningDataModule per dataset, `unified` for mixtures, `folder`, `synthetic`."""
