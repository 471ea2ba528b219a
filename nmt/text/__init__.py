"""Text and pieces: cleaning, segments, SentencePiece. Needs sentencepiece only."""
