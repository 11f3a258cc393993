"""What a volume is represented by: a registry of kinds, each in a room of its own."""
