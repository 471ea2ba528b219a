"""What the training loop (nmt/train.py) is made of."""
