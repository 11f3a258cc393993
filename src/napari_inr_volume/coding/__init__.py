"""From a network's weights to bytes, and back."""
