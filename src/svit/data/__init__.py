"""Data sets: reading, preparing and checking their annotations; frames at random."""
