"""Fuzz the decoding with damaged files of every accepted format, made from valid ones."""
