"""Text models: their shapes, sampling, generation, and how well they predict."""
