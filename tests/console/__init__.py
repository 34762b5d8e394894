"""The specification of the console, in a real browser."""
