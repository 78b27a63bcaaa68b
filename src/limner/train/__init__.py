"""Training: one loop for everything that is trained, and what a text run needs around it."""
