"""Looking inside a model: what each step of a reading or a writing was made of."""
