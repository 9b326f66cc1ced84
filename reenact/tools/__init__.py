"""What is run by hand: live driving, morphs, tables of scores, ONNX, a sheet of augmentations."""
