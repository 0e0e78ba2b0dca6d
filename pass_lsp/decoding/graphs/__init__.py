"""The fast path on a CPU: models as ONNX graphs. Needs libraries that the rest of `decoding/` does without."""
