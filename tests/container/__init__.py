"""Build the Docker image, inspect it, and run it hardened; needs a Docker engine, or root on Debian to start one."""
