"""The demo: a memory learns a class, and forgets it, before your eyes."""

from visual_memory_service.demo.story import add_to

__all__ = ["add_to"]
