"""Play and watch in the browser: a page on the loopback address (edge: starlette, uvicorn, jinja2)."""
