"""Networks: tensors in, tensors out. No Lightning; no I/O but loading weights and the files of presets."""
