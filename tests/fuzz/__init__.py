"""Fuzzing of the decoding: broken files of every accepted format, made from valid ones."""
