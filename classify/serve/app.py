"""The endpoints of `serve`: the page, what the bundle is, and predictions of uploaded recordings."""

from __future__ import annotations

import asyncio
import re
import secrets
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from jinja2 import Environment, FileSystemLoader
from starlette.exceptions import HTTPException

from layerprobe.cache.common.errors import ClipError, InputError
from layerprobe.classify.predict.bundle import Bundle
from layerprobe.classify.predict.recordings import check_windows, cut_windows
from layerprobe.classify.predict.results.table import as_rows
from layerprobe.classify.serve.limits import Limits, RequestError, Workers, too_large
from layerprobe.embed.audio.sound import probe
from layerprobe.embed.manifest.clips import Clip

PAGE = "page.html"
SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}")
HOP = 1.0  # seconds, of windows


def create_app(bundle: Bundle, limits: Limits, *, hosts: Collection[str] | None = None) -> FastAPI:
    """The application. hosts: names under which it may be reached, so that no other site's name, pointed at
    this machine, opens it to that site's pages; None for any."""
    workers = Workers(limits)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        workers.close()

    app = FastAPI(title="layerprobe", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.workers = workers
    template = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True).get_template(PAGE)

    @app.get("/", response_class=HTMLResponse)
    async def page() -> HTMLResponse:
        nonce = secrets.token_urlsafe(16)
        text = template.render(about=describe(bundle), limits=limits, nonce=nonce)
        policy = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; "
            "media-src blob:; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        return HTMLResponse(text, headers={"Content-Security-Policy": policy})

    @app.get("/about")
    async def about() -> dict[str, Any]:
        return describe(bundle)

    @app.post("/predict")
    async def predict(
        request: Request, window: float | None = None, hop: float | None = None, min_confidence: float = 0.0
    ) -> JSONResponse:
        if not 0 <= min_confidence <= 1:
            raise RequestError(422, f"min_confidence is {min_confidence:g}; give 0 to 1")
        check_windows(window, hop, stream=False)
        with tempfile.TemporaryDirectory(prefix="layerprobe-") as folder:
            try:
                async with asyncio.timeout(limits.request_timeout):
                    path, name = await receive_file(request, Path(folder), limits)
            except TimeoutError:
                raise RequestError(408, f"the upload took longer than {limits.request_timeout:g} s") from None
            clip = Clip(id=name, file=str(path))
            rules: dict[str, Any] = {
                "window": window,
                "hop": HOP if hop is None else hop,
                "min_confidence": min_confidence,
            }
            result = await workers.run(lambda: predict_file(bundle, clip, limits, **rules))
            return JSONResponse(result)

    app.add_exception_handler(RequestError, _refuse)
    app.add_exception_handler(InputError, _refuse)
    app.add_exception_handler(HTTPException, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse)

    @app.middleware("http")
    async def own_pages_only(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        """Refuse requests that pages of other sites make in the user's browser."""
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        foreign = hosts is not None and urlsplit(f"//{host}").hostname not in hosts
        if foreign or (origin is not None and origin.partition("://")[2] != host):
            return JSONResponse({"error": "requests of other sites are refused"}, status_code=403)
        response = await call_next(request)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    return app


def describe(bundle: Bundle) -> dict[str, Any]:
    """What clients may know of a bundle: labels in the order of probabilities, system and score."""
    content = bundle.content
    score = content.get("scores", {}).get("uar")
    if content.get("kind") == "finetuned":
        model = content.get("base_model")
        system = f"{model}, fine-tuned"
    else:
        model = content.get("extraction", {}).get("model")
        system = f"{content.get('head')} on layer {content.get('layer')} of {model}"
    return {
        "labels": list(bundle.labels),
        "target": content.get("target"),
        "system": system,
        "model": model,
        "layer": content.get("layer"),
        "head": content.get("head"),
        "uar": score,
        "leaked": content.get("leaked"),
    }


async def receive_file(request: Request, folder: Path, limits: Limits) -> tuple[Path, str]:
    """The uploaded recording in `folder`, and its name: a form's field `file`, or the request's body.

    Raises RequestError for no recording, and one above the limit, which is not read to its end.
    """
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limits.max_bytes:
        raise too_large(limits)
    received, receive = 0, request.receive

    async def limited() -> Any:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limits.max_bytes:
            raise too_large(limits)
        return message

    request = Request(request.scope, limited)
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        path = folder / "recording"
        with path.open("wb") as file:
            async for chunk in request.stream():
                file.write(chunk)
        name = "recording"
    else:
        async with request.form(max_files=1, max_fields=10) as form:
            upload = form.get("file")
            if upload is None or isinstance(upload, str):
                raise RequestError(422, "no recording: send a form with a field `file`, or the file itself")
            name = Path(upload.filename or "recording").name
            suffix = Path(name).suffix
            path = folder / f"recording{suffix if SUFFIX.fullmatch(suffix) else ''}"
            with path.open("wb") as file:
                while chunk := await upload.read(1 << 20):
                    file.write(chunk)
    if not path.stat().st_size:
        raise RequestError(422, "the recording is empty")
    return path, name


def predict_file(
    bundle: Bundle,
    clip: Clip,
    limits: Limits,
    *,
    window: float | None,
    hop: float,
    min_confidence: float,
) -> dict[str, Any]:
    """The answer to a request: name, seconds, and the prediction, or those of windows.

    Raises RequestError for a recording that is too long or cannot be used.
    """
    try:
        clip, *others = bundle.select_sound([clip])
        if others:
            raise RequestError(422, "the recording has several channels; send each as a file of its own")
        seconds = probe(clip).seconds
        if seconds > limits.max_seconds:
            raise RequestError(413, f"the recording has {seconds:.0f} s, more than {limits.max_seconds:g}")
        clips = [clip]
        if window is not None:
            clips, faults = cut_windows([clip], window=window, hop=hop)
            for fault in faults.values():
                raise fault
        predictions = bundle.predict_clips(clips, min_confidence=min_confidence)
        for one in predictions:
            if one.error is not None:
                raise one.error
    except ClipError as error:
        raise RequestError(422, f"the recording cannot be used: {error.reason}") from error
    rows = as_rows(predictions, bundle.labels, windows=window is not None)
    labelled = [{name: value for name, value in row.items() if name != "file"} for row in rows]
    result: Mapping[str, Any] = labelled[0] if window is None else {"windows": labelled}
    return {"file": clip.id, "seconds": round(seconds, 3), **result}


async def _refuse(_: Request, error: Exception) -> JSONResponse:
    if isinstance(error, RequestError):
        headers = {"Retry-After": "5"} if error.status == 503 else None
        return JSONResponse({"error": str(error)}, status_code=error.status, headers=headers)
    if isinstance(error, HTTPException):  # no such path or method, or a form that cannot be parsed
        return JSONResponse({"error": error.detail}, status_code=error.status_code, headers=error.headers)
    if isinstance(error, RequestValidationError):
        faults = [f"{fault['loc'][-1]}: {fault['msg']}" for fault in error.errors()]
        return JSONResponse({"error": "; ".join(faults)}, status_code=422)
    assert isinstance(error, InputError)  # for the type checker
    text = f"{error.what}; {error.do}" if error.do else error.what  # without paths of the server
    text = re.sub(r"--(window|hop)\b", r"\1", text)  # here they are parameters, no options
    return JSONResponse({"error": text}, status_code=422)
