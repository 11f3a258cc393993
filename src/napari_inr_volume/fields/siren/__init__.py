"""A sinusoidal representation network (SIREN), the kind that the paper is of."""
