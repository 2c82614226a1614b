"""Files of a published model: described, fetched, verified, converted. Knows nothing of models.

    manifest, files, http  <-  verify, progress  <-  sources, download  <-  store, convert  <-  cli

`weights.py` at the top of the project is the door: nothing else downloads.
"""
