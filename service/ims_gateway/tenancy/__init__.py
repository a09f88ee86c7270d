"""Tenants as files: what they are, how they are read, how they are found."""
