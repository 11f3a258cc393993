"""Where torch computes: which processor, and on how many threads."""
