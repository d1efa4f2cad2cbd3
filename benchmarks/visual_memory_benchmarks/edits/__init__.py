"""Edits against perception: what changing a memory does to how it sees."""
