"""Models on disk: our own folders, and those of other libraries through one invertible key table a family; and where things are kept."""
