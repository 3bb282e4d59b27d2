"""The gradient of each leaf against finite differences."""
