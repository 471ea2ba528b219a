"""Experiments: several models (members) are trained under equal conditions and compared.

In the way of the data: above everything else. An experiment uses the same train, Translator and scores as a user does.

    attention.py      the command of all experiments: trains, translates, measures, draws
    attention.yaml    the plan of the experiment `attention`: fixed context against attention
    family.yaml       the plan of the experiment `family`: every option by itself
    plan.py           reads a plan: the name of a member becomes a config
    budget.py         the hidden size that gives a member its number of parameters
    material.py       the text of an experiment: files, prepared corpus, pieces seen by step
    runs.py           trains and translates, one member after another or several at the same time; resumes
    scores.py         BLEU with intervals, over the whole test set and by source length
    curves.py         validation BLEU and perplexity during a run
    gradients.py      gradient norm at a source piece, by its distance from the last one
    alignments.py     the attention in chosen sentences
    speed.py          training speed of all members, measured in turns
    table.py          results as CSV and Markdown
    figures.py        figures from the CSV files; the only module that needs matplotlib
"""
