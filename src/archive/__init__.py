"""An archive of images through the pipeline on Ray: what is in it, who recognizes it, what is written of it."""
