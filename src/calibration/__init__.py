"""Learn from the logits and features of labeled images how confident a model's answers are."""
