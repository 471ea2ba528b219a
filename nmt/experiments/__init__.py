"""Experiments that train several models and compare them; each is a command, its settings lie beside it as YAML.

In the way of the data: above everything else. An experiment calls the same train, Translator and scores as a user does.

    attention.py      the command: fixed context against attention, under one budget of parameters and steps
    attention.yaml    its members, corpora and settings
    family.yaml       those of the experiment `family`: every option by itself
    plan.py           reads that file: a name becomes a config
    budget.py         the hidden size that gives a member its number of parameters
    material.py       the text of an experiment: files, prepared corpus, pieces seen by step
    runs.py           trains and translates, one member after another or several side by side; goes on where it was
    scores.py         BLEU with intervals, over the whole test set and by source length
    curves.py         validation BLEU and perplexity along a run
    gradients.py      how much of the gradient reaches a source piece, by its distance
    alignments.py     the attention in chosen sentences
    speed.py          tokens/s of all members, measured in turns
    table.py          results as CSV and Markdown
    figures.py        the CSV files as pictures; the only one that needs matplotlib
"""
