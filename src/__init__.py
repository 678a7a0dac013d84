"""Image recognition with Grad-CAM: the stages, the model and the web API behind ``service.py``."""
