"""limner: generative AI, the whole stack, to run, train and look inside of."""
