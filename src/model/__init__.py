"""From a checkpoint to a network that is ready to serve, by way of the model store."""
