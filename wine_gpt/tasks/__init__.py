"""Use a pretrained GPT for other tasks than writing: labels, embeddings, similar reviews and questions."""
