"""`--data`: batches from files, read a few rows at a time. No file is run, and no pickle is read."""
