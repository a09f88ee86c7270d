"""Moved to ims_gateway.violations; this line goes with its last importer."""

from ims_gateway.violations import field_path as field_path  # noqa: PLC0414
