"""What is: the current clients, folded from what happened."""
