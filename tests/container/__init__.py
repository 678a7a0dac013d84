"""The image: built, looked into, run hardened; needs a Docker engine, or root on Debian to start one."""
