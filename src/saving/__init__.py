"""What save_model.py takes and says: its options, and its report of what it found and checked."""
