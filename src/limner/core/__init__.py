"""The machine: tensors in, tensors out. No files, no network, no prints, no globals; needs only torch."""
