"""The console: a page for people, over nothing but the public API. Its files are served as they are."""
