"""What a federation is asked to learn, as records without torch."""
