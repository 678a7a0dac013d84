"""Scores and features of labelled images -> what a model can say of how sure its answers are."""
