"""Variables, and the Saver's own ops."""
