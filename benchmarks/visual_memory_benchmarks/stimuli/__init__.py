"""Stimuli: the pictures of a data set, how they are laid out, and their embeddings.

Imports distortions, trials and files. Alone: ``make test ROOM=benchmarks/stimuli``.
"""
