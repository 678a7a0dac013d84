"""The pure stages of a request, in order: decode, transform, predict, confidence, gradcam, render."""
