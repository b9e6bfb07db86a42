"""What the commands of one use each do."""
