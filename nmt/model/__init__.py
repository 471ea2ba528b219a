"""The translation model and its parts; `seq2seq.py` builds it from a config and has the legend of dimensions."""
