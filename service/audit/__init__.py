"""What auditors see: the stream of records, the log as a list, and the proof that it is whole."""
