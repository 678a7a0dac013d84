"""The five stages of a request, in order: decode, transform, predict, gradcam, render."""
