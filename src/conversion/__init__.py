"""Capture a network as graphs, cut at the Grad-CAM layer, and convert and verify them."""
