"""What an operator's Prometheus asks for: numbers about the service, none of which names anybody."""
