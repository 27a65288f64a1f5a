"""The configuration of the random models that learn the built-in world in seconds."""

from transformers import BertConfig, PreTrainedTokenizerFast


def tiny_config(tokenizer: PreTrainedTokenizerFast, *, width: int = 64) -> BertConfig:
    """A BERT of 2 layers without dropout, sized for seconds (width 64) or a minute (128) on one CPU core."""
    return BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=2 * width,
        max_position_embeddings=256,
        # At the usual 0.02 so small a model learns English visibly worse (question answering: F1 71 against 78).
        initializer_range=0.05,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=tokenizer.pad_token_id,
    )
