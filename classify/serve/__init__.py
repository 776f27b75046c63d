"""A bundle as a web server: one page to record or drop a file, and a JSON endpoint.

`command.py`: the command `serve` and its options; `app.py`: the endpoints; `limits.py`: what a request may
cost; `page.html`: the page, which loads nothing from elsewhere. FastAPI and uvicorn are the extra `serve`.
"""
