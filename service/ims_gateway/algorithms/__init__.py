"""The fifteen algorithms: how a job is spelled on the wire, and how its end is read."""
