"""The representation: a SIREN, its fit to a volume and its evaluation."""
