"""The rules that a client's settings keep."""
