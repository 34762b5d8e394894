"""The relay: a consumer of the log that publishes every record to a message broker."""
