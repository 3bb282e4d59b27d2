"""Rules about what the loss makes of the outputs and of the batch."""
