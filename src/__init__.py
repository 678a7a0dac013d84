"""Image recognition with Grad-CAM: the stages, the model and the web edge behind ``service.py``."""
