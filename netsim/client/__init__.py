"""What a client does in one participation, from download to upload."""
