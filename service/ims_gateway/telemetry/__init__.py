"""Traces, decisions and logs."""
