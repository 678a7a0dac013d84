"""Recognize an archive of images on Ray: list its images, distribute them to workers, and write the results."""
