"""What the command ``visual-memory-bench`` does, a module for each kind of work."""
