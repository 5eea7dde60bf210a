"""`python -m examples.app_server`: serve it, until Ctrl-C."""

import argparse
import os

import uvicorn


def main() -> None:
    arguments = argparse.ArgumentParser(
        prog="python -m examples.app_server",
        description="DATABASE_URL is the app servers' login.",
    )
    arguments.add_argument("--base-domain", default="localhost")
    arguments.add_argument("--port", type=int, default=8000)
    arguments.add_argument("--proxy", action="append", default=[], help="a network to trust")
    arguments.add_argument("--framework", choices=["litestar", "fastapi"], default="litestar")
    given = arguments.parse_args()
    if given.framework == "litestar":
        from .litestar_app import create_app  # noqa: PLC0415  only the chosen one
    else:
        from .fastapi_app import create_app  # noqa: PLC0415  only the chosen one
    url = os.environ["DATABASE_URL"]  # noqa: TID251  an application of its own
    app = create_app(url, given.base_domain, proxies=given.proxy)
    # Or X-Forwarded-For would say who asks, and so whom to trust.
    uvicorn.run(app, port=given.port, proxy_headers=False)


if __name__ == "__main__":
    main()
