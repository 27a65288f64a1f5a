"""Names of the files that our models have beside those of transformers: by them a folder is known. Needs no torch."""

SPAN_HEAD, SPAN_HEAD_CONFIG = "span_head.safetensors", "span_head.json"
"""Of a question-answering head of ours."""

HEAD_WEIGHTS, HEAD_CONFIG = "tag_head.safetensors", "tag_head.json"
"""Of a tagging head."""

SENTENCE_CONFIG = "sentence.json"
"""How a sentence encoder makes a vector of its tokens."""
