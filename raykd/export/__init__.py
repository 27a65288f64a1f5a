"""Taking a model home: a Hugging Face folder that needs no raykd, its model card, ONNX, the Hub."""
