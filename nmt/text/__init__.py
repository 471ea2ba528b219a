"""Text to pieces and back: cleaning, segments, tokenizer. Depends on sentencepiece only."""
