"""What the command ``visual-memory-bench`` may be told and does, a module for each kind of work."""
