"""Files of a published model: described, fetched, verified, converted. Knows nothing of models.

    manifest, files, verify, progress  <-  retry, http, partial, store  <-  sources, download, pget
        <-  obtain, convert, lock  <-  fetch  <-  cli         (rewrite: a process of its own, of convert)

`weights.py` at the top of the project is the door: nothing else downloads.
"""
