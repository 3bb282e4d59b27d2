"""What a user sees, compared with golden text."""
