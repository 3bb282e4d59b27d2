"""The passes: compiled programs that measure, and the numbers they bring back."""
