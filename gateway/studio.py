"""`script/studio`: a page to try voices and texts on, before any running gateway.

script/studio                                # starts a gateway of its own on the small voice
script/studio --server http://host:8000      # uses one that runs; INDEXTTS_STUDIO_KEY holds its key
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys

from gateway.scratch import STUDIO_PREFIX, use_own_folder

logger = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="script/studio", description=__doc__.splitlines()[0])
    parser.add_argument("--server", help="URL of a running gateway; without it one is started")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7860)
    parser.add_argument("--model", help="of a gateway that is started")
    options = parser.parse_args(arguments)
    logging.basicConfig(level="INFO", format="%(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends it as Ctrl-C does
    use_own_folder(STUDIO_PREFIX)
    # Only now, as Gradio keeps the place of temporary files when it is imported.
    from gateway.studio_client import Server, started
    from gateway.studio_page import CSS, make_page

    known = (
        Server(options.server.rstrip("/"), os.environ.get("INDEXTTS_STUDIO_KEY", ""))
        if options.server
        else None
    )
    try:
        with contextlib.nullcontext(known) if known else started(options.model) as server:
            make_page(server).launch(
                server_name=options.host, server_port=options.port, css=CSS, footer_links=[], quiet=True
            )
    except ValueError as e:
        print(f"error: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # before the page was there, which takes it itself
        logger.info("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
