"""Files that people have -> a network with its weights, labels, input; nothing in a file is run unasked."""
