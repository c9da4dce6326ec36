"""The command line: the LightningCLI and the plain functions behind `data` and `report`."""
