"""What every command that is a client needs: its options, its words, and how it ends."""
