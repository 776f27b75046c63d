"""Heads for labels with structure: ordered levels (`ordinal`), sets of labels (`one_vs_rest`), shares of
votes (`shares`)."""
