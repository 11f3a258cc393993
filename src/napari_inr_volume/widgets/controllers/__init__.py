"""Between sections and work: controllers, which need neither a window nor the widget that wires them."""
