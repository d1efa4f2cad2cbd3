"""The explorer: web pages to look at a memory and to correct it, a client of the service."""
