"""A few steps of training on the user's own batches, as they are or with one thing changed."""
