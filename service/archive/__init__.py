"""Archives of tenants: written, read back, and what it takes to keep their credentials secret."""
