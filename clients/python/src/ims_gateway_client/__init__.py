"""Python client of IMS Gateway."""
