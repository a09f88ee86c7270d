"""A gateway and an emulator together, with throw-away keys: for demos and a first look."""
