"""Running the user's file, and errors that show the user's frames only."""
