"""Pictures: the world they are drawn from, latents, and how new ones are made."""
