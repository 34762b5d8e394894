"""What can happen to an OAuth client, and the log it is written to."""
