"""Looks a gateway's surroundings over, without the gateway: what is wrong, and what to do."""
