"""Pictures: from a prompt's tokens through cross-attention to an image refined from noise, step by step."""
