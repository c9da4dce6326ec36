"""The command line: the LightningCLI and the plain functions behind `main.py data` and `main.py report`."""
