"""The words for what a training may change; `pipeline.adapter` makes them true. Apart from it, because who only checks
an option need not import PyTorch."""

METHODS = ("lora", "full")
