"""Files and folders that people have -> tensors and plain values; nothing that they name is imported or called."""
