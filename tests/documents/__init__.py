"""What is written for people, run and read."""
