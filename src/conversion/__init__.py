"""A network -> graphs, cut at the Grad-CAM layer, converted and verified."""
