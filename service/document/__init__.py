"""The service in words: the OpenAPI document, and a page made of it."""
