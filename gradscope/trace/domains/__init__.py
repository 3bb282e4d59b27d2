"""What flows through the equations of a program."""
