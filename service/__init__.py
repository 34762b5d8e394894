"""The outside: HTTP, the write path and the command line."""
