"""The ids of the special pieces, which are the same in every tokenizer and model."""

from typing import Final

PAD: Final = 0
UNK: Final = 1
BOS: Final = 2
EOS: Final = 3
