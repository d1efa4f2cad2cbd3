"""The commands of ``visual-memory``: what each may be told, and what it does."""
