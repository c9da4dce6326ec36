"""Networks: tensors in, tensors out. No Lightning, no configuration files, no I/O except weight loading in `clip`."""
