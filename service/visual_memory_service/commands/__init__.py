"""The commands of ``visual-memory``: what each does once its options are read."""
