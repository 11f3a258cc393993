"""From the LR grid back to the full in-plane resolution: Lanczos, SRDenseNet or SPAN."""
