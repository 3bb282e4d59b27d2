"""What each parameter of the loss receives."""
