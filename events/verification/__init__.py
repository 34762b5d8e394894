"""What is wrong with a tenant's log, if anything: the faults there can be, and who finds them. Pure."""
