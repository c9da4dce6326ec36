"""Tasks: each method of the suite as a LightningModule, batch in, losses and `StepOutput` out."""
