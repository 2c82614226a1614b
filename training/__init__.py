"""Training code of the small voice and of fine-tuning; shares the inference modules and adds losses and
loops.
"""
