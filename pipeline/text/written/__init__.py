"""Written forms: the numbers, dates, units, codes and signs of a text, each read in its language."""
