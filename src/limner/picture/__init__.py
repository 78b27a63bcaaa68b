"""Pictures: the world they are drawn from."""
