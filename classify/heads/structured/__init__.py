"""Heads for labels with structure: ordered levels (`ordinal`)."""
