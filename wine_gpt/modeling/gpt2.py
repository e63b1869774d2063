"""Build a GPT-2 that knows its tokenizer's special tokens and how it is sampled."""

from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast, set_seed

from wine_gpt.config import ModelConfig


def build_model(config: ModelConfig, tokenizer: PreTrainedTokenizerFast, seed: int) -> GPT2LMHeadModel:
    """Return a freshly initialised GPT-2; its weights depend on the config, the vocabulary's size and the seed."""
    special = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    set_seed(seed)
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer),
            n_positions=config.block_size,
            n_layer=config.n_layer,
            n_head=config.n_head,
            n_embd=config.n_embd,
            n_inner=config.n_inner,
            resid_pdrop=config.dropout,
            embd_pdrop=config.dropout,
            attn_pdrop=config.dropout,
            # GPT-2's own, by torch's kernel instead of eight
            activation_function="gelu_pytorch_tanh",
            **special,
        )
    )
    model.generation_config = GenerationConfig(
        **special,
        do_sample=True,
        # measured: docs/evaluation.md, "How words are drawn"
        temperature=0.9,
        top_p=1.0,
        # all words; where nothing is said, transformers takes the 50 likeliest
        top_k=0,
        # not max_new_tokens, which could pass the last position, and which pipelines of transformers 4 put at 256
        max_length=config.block_size,
        suppress_tokens=[tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.bos_token_id],
    )
    return model
